"""Opening the store, the port and the browser, and serving until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import application

_HERE = "127.0.0.1"
_NICENESS = 19
"""A writer beside requests without a pause took 1.8 times as long with 0, 1.3 with 10 and 1.2 with 19."""
_REDIRECT = (
    '<!doctype html><meta charset="utf-8"><title>State store</title><meta http-equiv="refresh" content="0; url={}">'
)


def serve(location: str | os.PathLike[str], *, port: int = 0, open_browser: bool = True, decide: bool = False) -> None:
    """Serve a store to browsers of this machine until Ctrl-C, and print the address, which has a key in it.

    Unless it writes itself, this process then has the lowest priority (`os.nice`) until it ends: what writes comes
    first. One that writes is not slowed down, as the others wait while it holds the lock.

    Parameters
    ----------
    location
        The path or URL of a store that exists.
    port
        The port on 127.0.0.1; 0 for a free one.
    open_browser
        Open the address in the user's browser, too.
    decide
        Let people change decisions. Without it the store is opened read-only.

    Raises
    ------
    CannotOpenError, NotADatabaseError, ForeignDatabaseError
        As `StateStore` raises them; a file that does not exist is not created.
    OSError
        When the port is taken.
    """
    with _opened(location, writing=decide) as store, _listening(port) as listener:
        prefix, key = f"/{secrets.token_urlsafe(16)}/", secrets.token_urlsafe(24)
        address = f"http://{_HERE}:{listener.getsockname()[1]}{prefix}?key={key}"
        print(f"{address}\nCtrl-C ends it.", flush=True)
        config = uvicorn.Config(
            application(store, name_of(location), prefix, key, decide=decide),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        with _browser(address) if open_browser else contextlib.nullcontext():
            if not decide:
                # Linux has one for each thread. That which opens the browser has begun, so the browser keeps its own.
                os.nice(_NICENESS)
            uvicorn.Server(config).run([listener])


def name_of(location: str | os.PathLike[str]) -> str:
    """Return what is shown of a location: of a file its name, of a URL the host and the database, no user."""
    text = os.fspath(location)
    return text.partition("?")[0].rpartition("@")[2].rpartition("//")[2] if "://" in text else Path(text).name


@contextlib.contextmanager
def _opened(location: str | os.PathLike[str], *, writing: bool) -> Iterator[StateStore]:
    """Open a store that exists; a store that is opened for writing would be created."""
    with StateStore(location, read_only=True) as store:
        if not writing:
            yield store
            return
    with StateStore(location) as store:
        yield store


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    # asyncio turns Nagle off (each answer on a kept connection would take 40 ms) where it sees that this is TCP.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HERE, port))
            listener.listen()
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"port {port} of {_HERE}") from None
        yield listener


@contextlib.contextmanager
def _browser(address: str) -> Iterator[None]:
    """Open a file that leads to the address: the command line of the browser, which all users see, has no key then."""
    with tempfile.TemporaryDirectory(prefix="orchestrator-state-") as folder:
        file = Path(folder) / "page.html"
        file.touch(0o600, exist_ok=False)
        file.write_text(_REDIRECT.format(address), encoding="utf-8")
        # Some browsers return only when they are closed.
        threading.Thread(target=webbrowser.open, args=(file.as_uri(),), daemon=True).start()
        yield
