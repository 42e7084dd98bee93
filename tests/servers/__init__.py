"""Throw-away servers: PostgreSQL on a socket and a port of its own, gone with the process that started it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

_PORT = 5432
_WITHIN = 30.0
"""Seconds within which a server must be up: less than one, usually."""

_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "autovacuum_naptime": "10s",
}
"""A commit is on disk, as it is on a server that is kept. The rest has it start and answer quickly."""


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs: the one that is named, or the newest of Debian's."""
    named = os.environ.get("STATE_STORE_PG_BIN")
    if named:
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """One server, from `__enter__` to `__exit__`."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        found = binaries()
        assert found is not None, "no PostgreSQL: install Debian's package postgresql, or set STATE_STORE_PG_BIN"
        self.programs = found
        self.settings = _SETTINGS | (settings or {})
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # As root, the server runs as another user, who may not look into the folders of pytest.
        self.folder = Path(tempfile.mkdtemp(prefix="state-store-pg-", dir="/tmp"))
        if os.getuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        data = self.folder / "data"
        initdb = [str(self.programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*_unprivileged(), *initdb, "--no-sync", "--locale=C"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        settings = self.settings | {
            "unix_socket_directories": os.fspath(self.folder),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [*_unprivileged("--pdeathsig", "INT"), os.fspath(self.programs / "postgres"), "-D", os.fspath(data)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([*command, *options], cwd=self.folder, stdout=log, stderr=log)
        limit = time.monotonic() + _WITHIN
        while not self._is_up():
            assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
            assert time.monotonic() < limit, "the server does not answer"
            time.sleep(0.02)

    def _is_up(self) -> bool:
        ready = [os.fspath(self.programs / "pg_isready"), "-q", "-h", os.fspath(self.folder), "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    @property
    def url(self) -> str:
        """The URL of the server, by its socket."""
        return f"postgresql:///postgres?host={quote(os.fspath(self.folder), safe='/')}&port={self.port}&user=postgres"

    def stop(self) -> None:
        """Stop the server at once, and remove all of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_WITHIN)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.stop()


def _unprivileged(*options: str) -> list[str]:
    """Return what runs a program as a user who is not root."""
    user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", *user, *options]


@functools.cache
def shared() -> str:
    """Return the URL of the one server of this process: the one that is named, or a new one."""
    named = os.environ.get("STATE_STORE_PG_URL")
    if named:
        return named if "?" in named else f"{named}?"
    stack = contextlib.ExitStack()
    server = stack.enter_context(Server())
    owner = os.getpid()

    def stop() -> None:
        if os.getpid() == owner:
            stack.close()

    atexit.register(stop)
    return server.url
