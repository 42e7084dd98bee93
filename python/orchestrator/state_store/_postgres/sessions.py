"""Sessions with the server: opened on demand, kept for the next call, forgotten in a forked child."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from typing import TYPE_CHECKING

import psycopg
from orchestrator.state_store._postgres import errors
from orchestrator.state_store.exceptions import StoreClosedError

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.address import Address
    from orchestrator.state_store._postgres.deadline import Deadline

_LONGEST_IDLE = 60.0
"""Seconds after which a session that nobody has used is closed."""

_FORGOTTEN: list[psycopg.Connection] = []
"""Sessions of the process that this one was forked from: to close them would end them there."""

_ALL: weakref.WeakSet[Sessions] = weakref.WeakSet()


def connect(address: Address, synchronous: bool, deadline: Deadline) -> psycopg.Connection:
    """Open a session, in autocommit."""
    options = " ".join(
        (
            str(address.parameters.get("options") or ""),
            "-c default_transaction_isolation=read\\ committed",
            f"-c synchronous_commit={'on' if synchronous else 'off'}",
            "-c client_min_messages=warning",
        )
    ).strip()
    parameters = {
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "orchestrator.state_store",
        **address.parameters,
        "client_encoding": "UTF8",
        "options": options,
    }
    while True:
        parameters["connect_timeout"] = max(2, int(min(deadline.left(), 30.0)))
        try:
            return psycopg.connect(autocommit=True, **parameters)
        except psycopg.OperationalError as error:
            if not (error.sqlstate == "53300" and deadline.left() > 0):
                raise errors.of_opening(error) from None
        # The server has no session left, and tells nobody when it has one.
        time.sleep(0.05)


class Sessions:
    """At most so many sessions at a time."""

    def __init__(self, address: Address, synchronous: bool, most: int) -> None:
        self._address, self._synchronous, self._most = address, synchronous, most
        self._changed = threading.Condition(threading.Lock())
        self._idle: list[tuple[psycopg.Connection, float]] = []
        self._busy: list[psycopg.Connection] = []
        self._opening = 0
        self._closed = False
        _ALL.add(self)

    def take(self, deadline: Deadline) -> tuple[psycopg.Connection, bool]:
        """Return a session, and whether it was used before.

        Raises
        ------
        StoreBusyError
            When none is free in time.
        """
        with self._changed:
            while True:
                if self._closed:
                    raise StoreClosedError("the store is closed")
                while self._idle:
                    connection, since = self._idle.pop()
                    if time.monotonic() - since < _LONGEST_IDLE and _is_sound(connection):
                        self._busy.append(connection)
                        return connection, True
                    connection.close()
                if len(self._busy) + self._opening < self._most:
                    self._opening += 1
                    break
                if not self._changed.wait(deadline.left()) and deadline.left() == 0:
                    raise deadline.busy()
        opened: psycopg.Connection | None = None
        try:
            opened = connect(self._address, self._synchronous, deadline)
        finally:
            with self._changed:
                self._opening -= 1
                if opened is not None:
                    self._busy.append(opened)
                self._changed.notify()
        return opened, False

    def give_back(self, connection: psycopg.Connection) -> None:
        """Keep a session for the next call, unless something is open in it."""
        with self._changed:
            if connection not in self._busy:
                return
            self._busy.remove(connection)
            idle = connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
            if idle and not self._closed and not connection.closed:
                self._idle.append((connection, time.monotonic()))
            else:
                connection.close()
            self._changed.notify_all()

    def refuse(self) -> None:
        """Give out no more sessions."""
        with self._changed:
            self._closed = True
            for connection, _ in self._idle:
                connection.close()
            self._idle.clear()
            self._changed.notify_all()

    def close(self, deadline: Deadline) -> bool:
        """Wait for the sessions that are used, and close all; return whether none was left."""
        self.refuse()
        with self._changed:
            while self._busy and deadline.left() > 0:
                self._changed.wait(deadline.left())
            left = list(self._busy)
        for connection in left:
            connection.cancel_safe(timeout=5.0)
        return not left

    def forget(self) -> None:
        """Begin anew, in a forked child."""
        _FORGOTTEN.extend([connection for connection, _ in self._idle] + self._busy)
        self._changed = threading.Condition(threading.Lock())
        self._idle, self._busy, self._opening = [], [], 0

    def __del__(self) -> None:
        """Close what the last call has left."""
        for connection, _ in self._idle:
            connection.close()


def _is_sound(connection: psycopg.Connection) -> bool:
    """Say whether the server has not ended a session that waits: then it has said so, or is gone."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP)
    return not poll.poll(0)


def _forget_all() -> None:
    for sessions in list(_ALL):
        sessions.forget()


os.register_at_fork(after_in_child=_forget_all)
