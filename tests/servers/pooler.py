"""pgbouncer in front of a server, in transaction mode: each transaction of a client may be in another session."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import time
from typing import Self

from tests.servers import NO_SYNC, Server, unprivileged

_WITHIN = 30.0


class Pooler:
    """One pgbouncer, from `__enter__` to `__exit__`, which has so many sessions at the server."""

    def __init__(self, server: Server, sessions: int = 20) -> None:
        found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert found is not None, "no pgbouncer: install Debian's package pgbouncer"
        self._program, self._server, self._sessions = found, server, sessions

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        settings = self._server.folder / f"pgbouncer-{self.port}.ini"
        settings.write_text(
            f"""[databases]
* = host={self._server.folder} port={self._server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {self._sessions}
max_client_conn = 2000
""",
            encoding="utf-8",
        )
        settings.chmod(0o644)
        command = [*unprivileged("--pdeathsig", "INT"), self._program, os.fspath(settings)]
        with (self._server.folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._server.folder, stdout=log, stderr=log)
        limit = time.monotonic() + _WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                assert self._process.poll() is None, "pgbouncer ended"
                assert time.monotonic() < limit, "pgbouncer does not answer"
                time.sleep(0.02)

    @property
    def url(self) -> str:
        """The URL of the server behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?pooler=true"

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(_WITHIN)


@functools.cache
def shared() -> tuple[str, str]:
    """Return the URLs of the one pooler of this process, and of the server behind it."""
    stack = contextlib.ExitStack()
    server = stack.enter_context(Server(NO_SYNC))
    pooler = stack.enter_context(Pooler(server))
    owner = os.getpid()
    atexit.register(lambda: stack.close() if os.getpid() == owner else None)
    return pooler.url, server.url
