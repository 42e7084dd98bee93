"""The sessions of a store: opened on demand, kept for the next call, forgotten in a forked child."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from orchestrator.state_store.exceptions import StoreClosedError

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.deadline import Deadline
    from orchestrator.state_store._postgres.session import Opener, Session

_LONGEST_IDLE = 60.0
"""Seconds after which a session that nobody has used is closed."""

_LONGEST_WAIT = 1.0
"""Seconds after which who waits for a session looks again: at the end of the store nobody tells, nor does a call that
was interrupted."""

_FORGOTTEN: list[Session] = []
"""Sessions of the process that this one was forked from: to close them would end them there."""

_ALL: weakref.WeakSet[Sessions] = weakref.WeakSet()


class Lease:
    """One call's use of a session. The call makes it first: wherever Ctrl-C ends it, it is over with the lease.

    Attributes
    ----------
    round
        How often the sessions had been renewed when this one was taken; -1 before that.
    thread
        Who calls.
    turn
        Told when a session is there for it, if it has to wait.
    """

    __slots__ = ("__weakref__", "round", "session", "thread", "turn", "was_used")

    def __init__(self) -> None:
        self.session: Session | None = None
        self.was_used = False
        self.round = -1
        self.thread = threading.get_ident()
        self.turn: threading.Condition | None = None


class Sessions:
    """At most so many sessions at a time. A session that is given back goes to the call that has waited longest."""

    def __init__(self, opener: Opener, most: int) -> None:
        self._opener, self._most = opener, most
        # As that of the gate: signal handlers and finalizers may take it, and Ctrl-C cannot part it from its `with`.
        self._lock = threading.RLock()
        self._given_back = threading.Condition(self._lock)
        self._idle: list[tuple[Session, float]] = []
        self._leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        # Weakly: a call that was interrupted has left the queue.
        self._waiting: list[weakref.ref[Lease]] = []
        self._round = 0
        self._closed = False
        _ALL.add(self)

    def take(self, lease: Lease, deadline: Deadline) -> Session:
        """Return a session: one that waits, or a new one.

        Raises
        ------
        StoreBusyError
            When none is free in time.
        """
        with self._lock:
            self._wait_for_turn(lease, deadline)
            lease.round = self._round
            while self._idle:
                session, since = self._idle.pop()
                if time.monotonic() - since < _LONGEST_IDLE and _is_sound(session):
                    lease.session, lease.was_used = session, True
                    session.begin_call(deadline)
                    return session
                session.close()
        lease.session = self._opener.open(deadline)
        return lease.session

    def _wait_for_turn(self, lease: Lease, deadline: Deadline) -> None:
        # A signal handler that came while its thread waits goes first: its thread waits for it. Nothing here refers to
        # other leases: one that is over must end.
        self._take_back(lease.thread)
        threads = [None if other is None else other.thread for other in (ref() for ref in self._waiting)]
        place = threads.index(lease.thread) if lease.thread in threads else len(threads)
        self._waiting.insert(place, weakref.ref(lease))
        while True:
            if self._closed:
                raise StoreClosedError("the store is closed")
            if lease not in self._leases and weakref.ref(lease) not in self._waiting:
                # A handler has taken it out, or a fork all.
                self._waiting.insert(0, weakref.ref(lease))
            self._call_next()
            if lease in self._leases:
                return
            if deadline.left() == 0:
                raise deadline.busy()
            lease.turn = lease.turn or threading.Condition(self._lock)
            lease.turn.wait(min(deadline.left(), _LONGEST_WAIT))

    def _take_back(self, thread: int) -> None:
        """Have a call wait on that was given a session, and interrupted by a handler before it knew."""
        for lease in list(self._leases):
            if lease.thread == thread and lease.round < 0:
                self._leases.discard(lease)
                self._waiting.insert(0, weakref.ref(lease))

    def _call_next(self) -> None:
        """Give what is free to those that wait, in their order."""
        while self._waiting and len(self._leases) < self._most and not self._closed:
            try:
                first = self._waiting[0]
            except IndexError:
                return
            # Only who has one leaves the queue: Ctrl-C may come in between.
            lease = first()
            if lease is not None:
                self._leases.add(lease)
            with suppress(ValueError):
                self._waiting.remove(first)
            if lease is not None and lease.turn is not None:
                lease.turn.notify()

    def give_back(self, lease: Lease) -> None:
        """Keep a session for the next call, unless something is open in it."""
        with self._lock:
            if lease not in self._leases:
                with suppress(ValueError):
                    self._waiting.remove(weakref.ref(lease))
                return
            self._leases.discard(lease)
            session, lease.session = lease.session, None
            if session is not None and not session.closed:
                idle = session.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
                if idle and not (self._closed or session.was_cancelled) and lease.round == self._round:
                    self._idle.append((session, time.monotonic()))
                else:
                    session.close()
            self._call_next()
            self._given_back.notify_all()

    def renew(self) -> None:
        """Keep none of the sessions that there are: their server is gone, or takes no more writes."""
        with self._lock:
            self._round += 1
            while self._idle:
                self._idle.pop()[0].close()

    def refuse(self) -> None:
        """Give out no more sessions."""
        with self._lock:
            self._closed = True
            self.renew()

    def close(self, deadline: Deadline) -> bool:
        """Wait for the sessions that are used, and close all; return whether none was left."""
        self.refuse()
        with self._lock:
            while self._leases and deadline.left() > 0:
                self._given_back.wait(min(deadline.left(), _LONGEST_WAIT))
            left = [lease.session for lease in self._leases if lease.session is not None]
        for session in left:
            with suppress(psycopg.Error):
                session.cancel_safe(timeout=1.0)
        return not left

    def forget(self) -> None:
        """Begin anew, in a forked child."""
        leased = [lease.session for lease in self._leases if lease.session is not None]
        _FORGOTTEN.extend([session for session, _ in self._idle] + leased)
        self._lock = threading.RLock()
        self._given_back = threading.Condition(self._lock)
        self._idle, self._leases, self._waiting = [], weakref.WeakSet(), []

    def __del__(self) -> None:
        """Close what the last call has left."""
        for session, _ in self._idle:
            session.close()


def _is_sound(session: Session) -> bool:
    """Say whether the server has not ended a session that waits: then it has said so, or is gone."""
    if session.closed:
        return False
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN | select.POLLHUP)
    return not poll.poll(0)


def _forget_all() -> None:
    for sessions in list(_ALL):
        sessions.forget()


os.register_at_fork(after_in_child=_forget_all)
