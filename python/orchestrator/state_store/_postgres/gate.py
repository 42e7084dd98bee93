"""Whose turn it is to write in this process: transactions one after the other, and no other write during one."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from orchestrator.state_store.exceptions import CannotOpenError, StoreBusyError, StoreClosedError

if TYPE_CHECKING:
    from orchestrator.state_store._core import Caller
    from orchestrator.state_store._postgres.deadline import Deadline
    from orchestrator.state_store._postgres.session import Session

_LONGEST_WAIT = 1.0

_HOLDERS: weakref.WeakValueDictionary[int, Holder] = weakref.WeakValueDictionary()
"""The open transactions of this process, of all of its stores."""


class Holder:
    """Who has a transaction open, and on which rows."""

    def __init__(self, caller: Caller, store_id: str) -> None:
        self.caller, self.store_id = caller, store_id
        _HOLDERS[id(self)] = self

    def release(self) -> None:
        """Say that it is over."""
        _HOLDERS.pop(id(self), None)


def forget_holders() -> None:
    """Forget those of the process that this one was forked from."""
    _HOLDERS.clear()


def refuse_own(store_id: str) -> None:
    """Refuse to wait for a transaction of this very thread: it would never end.

    Raises
    ------
    StoreBusyError
        When this thread has one open, by another store or in another task or context.
    """
    for holder in list(_HOLDERS.values()):
        if holder.store_id == store_id and holder.caller.is_on_this_thread():
            raise StoreBusyError(
                "this thread already holds the writer, in another task, greenlet or context, in an interrupted call or "
                "by another store, so that waiting could never end; nothing was changed; repeat it once that "
                "transaction or call is over"
            )


def check_locks(session: Session) -> None:
    """Refuse a server that accepts advisory locks and does nothing: numbers that are read and written would be lost.

    It takes one session. Behind a pooler, those that keep one and wait for another would wait for each other.

    Raises
    ------
    CannotOpenError
        When a lock that was given is not there.
    """
    key = secrets.randbits(62)
    cursor = session.execute(
        f"SELECT pg_advisory_xact_lock({key}); SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
        f" AND pid = pg_backend_pid() AND (classid::bigint << 32) + objid::bigint = {key}".encode()
    )
    cursor.nextset()
    if not cursor.fetchall():
        raise CannotOpenError(
            "the server does not keep advisory locks, by which writes of several processes are ordered"
        )


class Gate:
    """Lets callers through in the order in which they came."""

    def __init__(self, store_id: str) -> None:
        self._store_id = store_id
        # Signal handlers and finalizers may come in between, and write too: the lock is one that they may take. Ctrl-C
        # cannot part `with` from a native lock, as it can from a Condition, whose methods are Python.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[object] = deque()
        self._holder: weakref.ref[object] | None = None
        self._closed = False

    def pass_through(self, deadline: Deadline) -> None:
        """Wait until no transaction is open."""
        self.hold(None, deadline)

    def _is_held(self) -> bool:
        return self._holder is not None and self._holder() is not None

    def hold(self, holder: object | None, deadline: Deadline) -> None:
        """Wait until no transaction is open, and let nobody through until the holder's `release`, or its end."""
        ticket = object()
        with self._lock:
            try:
                self._waiting.append(ticket)
                while self._is_held() or self._waiting[0] is not ticket:
                    if self._closed:
                        break
                    refuse_own(self._store_id)
                    if deadline.left() == 0:
                        raise deadline.busy()
                    # One that Ctrl-C has ended in the middle of its end tells nobody.
                    self._changed.wait(min(deadline.left(), _LONGEST_WAIT))
                if self._closed:
                    raise StoreClosedError("the store is closed")
                self._holder = None if holder is None else weakref.ref(holder)
            finally:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                self._changed.notify_all()

    def release(self, holder: object) -> None:
        """Let others through, if this one holds them up: one that was interrupted does not know."""
        with self._lock:
            if self._holder is not None and self._holder() is holder:
                self._holder = None
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody through any more."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew, in a forked child."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting.clear()
        self._holder = None
