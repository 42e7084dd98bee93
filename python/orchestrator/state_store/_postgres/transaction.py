"""Transactions: exclusive, nested by savepoints, left by who entered them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import psycopg
from orchestrator.state_store import _core
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.gate import Holder
from orchestrator.state_store.exceptions import (
    CommitOutcomeUnknownError,
    StateStoreError,
    StoreClosedError,
    TransactionDoomedError,
    TransactionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import NoReturn, Self

T = TypeVar("T")

_DOOMED = "an earlier error has undone the whole transaction; nothing of it is written; leave it and begin again"


class Open:
    """A transaction that was begun: its session, and the savepoints in it."""

    def __init__(self, connection: psycopg.Connection, holder: Holder, ticket: object) -> None:
        self.connection, self.holder, self.ticket = connection, holder, ticket
        self.process = os.getpid()
        self.levels: list[object] = []
        self.doomed = False
        self.is_over = False
        self.lock = threading.RLock()

    def is_callers(self) -> bool:
        """Say whether the caller is the one that began it."""
        return not self.is_over and self.holder.caller.is_same()

    def refuse_unusable(self) -> None:
        """Raise where nothing can be done in it any more."""
        if self.process != os.getpid():
            raise TransactionError("this process was forked inside the transaction; it continues in the parent only")
        if self.is_over:
            raise StoreClosedError("the store is closed")
        if self.doomed:
            raise TransactionDoomedError(_DOOMED)

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do one call's work: if it fails, it undoes itself alone."""
        with self.lock:
            self.refuse_unusable()
            self.execute("SAVEPOINT call")
            done = False
            try:
                found = work(self.connection)
                done = True
            finally:
                self.execute("RELEASE SAVEPOINT call" if done else "ROLLBACK TO SAVEPOINT call; RELEASE SAVEPOINT call")
            return found

    def execute(self, statement: str) -> None:
        """Run a statement of control. A failure dooms the transaction."""
        try:
            self.connection.execute(statement.encode())
        except psycopg.Error:
            self.doomed = True
            raise
        except BaseException:
            # Ctrl-C: nobody knows whether it was done.
            self.doomed = True
            raise


class Beginner(Protocol):
    """What a transaction asks of the engine that begins it."""

    commits: int

    @property
    def closed(self) -> bool: ...
    @property
    def location(self) -> str: ...
    def begin(self, transaction: Transaction) -> None: ...
    def end(self, found: Open) -> None: ...


class Transaction:
    """What `StateStore.transaction` returns for a store in PostgreSQL."""

    __module__ = "orchestrator.state_store"
    __slots__ = ("__weakref__", "_caller", "_engine", "_level", "_open", "_outermost", "_state")

    _engine: Beginner
    _caller: _core.Caller | None
    _open: Open | None
    _level: object
    _outermost: bool
    _state: str

    def __new__(cls) -> Self:
        """Refuse: a store makes them."""
        raise TypeError("cannot create 'orchestrator.state_store.Transaction' instances")

    @classmethod
    def of(cls, engine: Beginner) -> Transaction:
        """Return one that is not entered yet."""
        self = object.__new__(cls)
        self._engine = engine
        self._state = "new"
        self._open, self._caller = None, None
        self._level = object()
        self._outermost = False
        return self

    def __enter__(self) -> Self:
        """Begin the transaction, or a savepoint within the caller's."""
        if self._state != "new":
            raise TransactionError("transaction: it was entered before; each `with` needs its own transaction()")
        self._engine.begin(self)
        return self

    def entered(self, found: Open, caller: _core.Caller, *, outermost: bool) -> None:
        """Note what was begun."""
        self._open, self._caller, self._outermost, self._state = found, caller, outermost, "open"
        found.levels.append(self._level)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Commit, or roll back if an exception leaves the block."""
        if exc_type is not None:
            self._roll_back()
            return
        if self._state != "open" or self._open is None or self._caller is None:
            why = "it was not entered; use `with`" if self._state == "new" else "it is over"
            raise TransactionError(f"transaction: {why}")
        if not (self._caller.is_of_this_task() or self._open.is_callers()):
            raise TransactionError("transaction: only the thread or task that entered it can leave it")
        self._state = "over"
        if not self._outermost:
            self._caller.end()
        try:
            self._keep(self._open)
        finally:
            if self._outermost:
                self._engine.end(self._open)
                self._caller.end()

    def _keep(self, found: Open) -> None:
        with found.lock:
            if found.process != os.getpid():
                raise _misuse("this process was forked inside it; it continues in the parent only")
            if self._engine.closed:
                raise StoreClosedError("the store is closed; the transaction was rolled back")
            if found.is_over:
                raise _misuse("one nested in it is still open, or it is over; it was rolled back")
            depth = found.levels.index(self._level) if self._level in found.levels else None
            if depth is None or depth + 1 != len(found.levels) or found.doomed:
                doomed = found.doomed
                with suppress(psycopg.Error):
                    self._undo(found)
                if doomed:
                    raise TransactionDoomedError(_DOOMED)
                raise _misuse("one nested in it is still open, or it is over; it was rolled back")
            del found.levels[depth:]
            try:
                if depth:
                    found.execute(f"RELEASE SAVEPOINT level_{depth}")
                else:
                    self._commit(found)
            except psycopg.Error as error:
                inside = depth > 0 or not errors.is_lost(error) or errors.is_before_commit(error)
                advice = "check what was written before repeating the transaction"
                raise errors.translated(error, writing=not depth, inside=inside, advice=advice) from None

    def _commit(self, found: Open) -> None:
        notices: list[str] = []

        def note(notice: psycopg.errors.Diagnostic) -> None:
            notices.append(" ".join((notice.message_primary or "").split()))

        found.connection.add_notice_handler(note)
        try:
            tag = found.connection.execute(b"COMMIT").statusmessage
        finally:
            found.connection.remove_notice_handler(note)
        if notices:
            raise CommitOutcomeUnknownError(
                f"transaction: the server warned at the commit ({notices[0]}), so that it may be lost; "
                "check what was written before repeating the transaction"
            )
        if tag != "COMMIT":
            raise TransactionDoomedError(_DOOMED)
        self._engine.commits += 1

    def _undo(self, found: Open) -> None:
        """Roll back to before this level, and with it all that is nested in it."""
        if self._level not in found.levels or found.is_over or found.process != os.getpid():
            return
        depth = found.levels.index(self._level)
        del found.levels[depth:]
        if not depth:
            found.connection.execute(b"ROLLBACK")
        elif not found.doomed:
            found.execute(f"ROLLBACK TO SAVEPOINT level_{depth}; RELEASE SAVEPOINT level_{depth}")

    def _roll_back(self) -> None:
        """Roll back if it is open. An exception of the user's propagates: a failure here cannot mask it."""
        found, caller = self._open, self._caller
        if self._state != "open" or found is None or caller is None:
            return
        self._state = "over"
        caller.end() if not self._outermost else None
        with suppress(psycopg.Error, StateStoreError), found.lock:
            self._undo(found)
        if self._outermost:
            self._engine.end(found)
            caller.end()

    def __del__(self) -> None:
        """Roll back what was not left."""
        if self._state == "open":
            self._roll_back()

    def __repr__(self) -> str:
        """Show where the store is, and the state of the transaction."""
        return f"<Transaction of {self._engine.location!r}, {self._state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("cannot pickle 'orchestrator.state_store.Transaction' object")


def _misuse(what: str) -> TransactionError:
    return TransactionError(f"the transaction cannot be ended here: {what}")
