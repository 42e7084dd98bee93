"""Transactions: exclusive, nested by savepoints, left by who entered them."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

import psycopg
from orchestrator.state_store import _core
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.commits import DOOMED
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.gate import Holder
from orchestrator.state_store._postgres.pipeline import pipelined
from orchestrator.state_store.exceptions import (
    StateStoreError,
    StoreClosedError,
    TransactionDoomedError,
    TransactionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, NoReturn, Self

    from orchestrator.state_store._postgres.pipeline import Statement
    from orchestrator.state_store._postgres.session import Session
    from orchestrator.state_store._postgres.sessions import Lease

T = TypeVar("T")


class Open:
    """A transaction that was begun: its session, and the savepoints in it."""

    def __init__(self, session: Session, lease: Lease, holder: Holder, busy_timeout: float) -> None:
        self.session, self.lease, self.holder = session, lease, holder
        self._busy_timeout = busy_timeout
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
            raise TransactionDoomedError(DOOMED)

    def run(self, work: Callable[[Session], T]) -> T:
        """Do one call's work: if it fails, it undoes itself alone."""
        with self.lock:
            self.refuse_unusable()
            self.execute("SAVEPOINT call")
            try:
                found = work(self.session)
            except BaseException:
                self._undo_call()
                raise
            self.execute("RELEASE SAVEPOINT call")
            return found

    def send(self, statements: Iterable[Statement]) -> list[tuple[Any, ...]]:
        """Do one call's work in one round trip; return the rows of its first statement."""
        with self.lock:
            self.refuse_unusable()
            self.session.begin_call(Deadline(self._busy_timeout))
            try:
                return pipelined(self.session, b"SAVEPOINT call", statements, b"RELEASE SAVEPOINT call")
            except BaseException:
                self._undo_call()
                raise

    def _undo_call(self) -> None:
        # If this fails, the transaction is doomed; the first error is the one to tell, Ctrl-C above all.
        with suppress(psycopg.Error, StateStoreError):
            self.execute("ROLLBACK TO SAVEPOINT call; RELEASE SAVEPOINT call")

    def execute(self, statement: str) -> None:
        """Run a statement of control. A failure dooms the transaction."""
        done = False
        try:
            self.session.begin_call(Deadline(self._busy_timeout))
            self.session.execute(statement.encode())
            done = True
        finally:
            # After Ctrl-C too: nobody knows whether it was done.
            self.doomed = self.doomed or not done


class Beginner(Protocol):
    """What a transaction asks of the engine that begins it."""

    @property
    def closed(self) -> bool: ...
    @property
    def location(self) -> str: ...
    def begin(self, transaction: Transaction) -> None: ...
    def commit(self, found: Open) -> None: ...
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
                    raise TransactionDoomedError(DOOMED)
                raise _misuse("one nested in it is still open, or it is over; it was rolled back")
            del found.levels[depth:]
            try:
                if depth:
                    found.execute(f"RELEASE SAVEPOINT level_{depth}")
                else:
                    self._engine.commit(found)
            except psycopg.Error as error:
                found.doomed = True
                raise errors.translated(error, inside=True) from None

    def _undo(self, found: Open) -> None:
        """Roll back to before this level, and with it all that is nested in it."""
        if self._level not in found.levels or found.is_over or found.process != os.getpid():
            return
        depth = found.levels.index(self._level)
        del found.levels[depth:]
        if not depth:
            found.execute("ROLLBACK")
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
        if getattr(self, "_state", "new") == "open":
            self._roll_back()

    def __repr__(self) -> str:
        """Show where the store is, and the state of the transaction."""
        return f"<Transaction of {self._engine.location!r}, {self._state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("cannot pickle 'orchestrator.state_store.Transaction' object")


def _misuse(what: str) -> TransactionError:
    return TransactionError(f"the transaction cannot be ended here: {what}")
