"""A thread that records the heartbeats of the runs of `StateStore.run`, in a session of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.sessions import Lease, Sessions
from orchestrator.state_store.exceptions import StateStoreError

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.session import Opener

_EVERY = 2.0
"""Seconds between two heartbeats."""


class Heartbeats:
    """The runs that are active in a store. The thread lives while there are any."""

    def __init__(self, opener: Opener, beat: str) -> None:
        self._sessions = Sessions(opener, 1)
        self._beat = beat.encode()
        self._lock = threading.RLock()
        self._active: list[str] = []
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def begin(self, run_id: str) -> None:
        """Record the heartbeats of a run."""
        with self._lock:
            self._active.append(run_id)
            if self._stop is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(target=_go_on, args=(self, self._stop), name="heartbeats", daemon=True)
                self._thread.start()

    def end(self, run_id: str) -> None:
        """Record no more of them."""
        with self._lock:
            if run_id in self._active:
                self._active.remove(run_id)
            if self._active or self._stop is None:
                return
            self._stop.set()
            thread, self._stop, self._thread = self._thread, None, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def record(self) -> None:
        """Record a heartbeat of each run. What fails is tried again with the next one."""
        with self._lock:
            active = list(self._active)
        with suppress(psycopg.Error, StateStoreError):
            lease = Lease()
            try:
                self._sessions.take(lease, Deadline(_EVERY)).execute(self._beat, [active])
            finally:
                self._sessions.give_back(lease)

    def close(self) -> None:
        """Stop."""
        with self._lock:
            self._active.clear()
        self.end("")
        self._sessions.close(Deadline(1.0))

    def forget(self) -> None:
        """Begin anew, in a forked child, which records none."""
        self._lock = threading.RLock()
        self._active, self._stop, self._thread = [], None, None


def _go_on(heartbeats: Heartbeats, stop: threading.Event) -> None:
    with suppress(OSError):
        # As operators see it.
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text("heartbeats", encoding="ascii")
    while not stop.wait(_EVERY):
        heartbeats.record()
