"""The ground of the calls: sessions, transactions, and each call's work done within its deadline."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from orchestrator.state_store import _core
from orchestrator.state_store._postgres import address, errors, gate, migrations, writes
from orchestrator.state_store._postgres.clock import Clock
from orchestrator.state_store._postgres.commits import Commits
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.heartbeats import Heartbeats
from orchestrator.state_store._postgres.pipeline import in_transaction
from orchestrator.state_store._postgres.session import Opener, Session
from orchestrator.state_store._postgres.sessions import Lease, Sessions
from orchestrator.state_store._postgres.transaction import Open, Transaction
from orchestrator.state_store.exceptions import (
    InvalidValueError,
    ReadOnlyError,
    StateStoreError,
    StoreClosedError,
    TransactionDoomedError,
    TransactionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.state_store._postgres.pipeline import Statement

    _Read = Callable[[Session], "T"]
    _Write = Callable[[Session, int | None], "T"]
    _Statements = Callable[[int | None], Iterable[Statement]]

T = TypeVar("T")

SAFE = "repeating the call is safe"
_TO_END = 1.0
"""Seconds that writes have to end when the store is closed, before they are cancelled."""

_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """A store's sessions, and what every call needs."""

    def __init__(
        self,
        db_path: str,
        *,
        synchronous: str,
        busy_timeout: float,
        pool_size: int,
        read_only: bool,
        file_mode: int,
        trace_sql: bool,
        json_default: Callable[[Any], Any] | None,
        strict: bool,
        unfinished: bool = False,
    ) -> None:
        self.arguments = _core.Arguments(json_default, strict)
        self._address = address.parse(db_path)
        full = self.arguments.synchronous(synchronous)
        self._busy_timeout = self.arguments.busy_timeout(busy_timeout)
        pool_size = self.arguments.pool_size(pool_size)
        self._read_only = self.arguments.flag(read_only, "read_only")
        if file_mode != 0o600:
            raise InvalidValueError("file_mode: a store in PostgreSQL has no file")
        if self.arguments.flag(trace_sql, "trace_sql"):
            raise errors.unsupported("trace_sql", "let the server log its statements (log_min_duration_statement)")
        self.schema = self._address.schema
        self.closed = False
        self.commits = 0
        opener = Opener(self._address, full=full, writing=not self._read_only)
        self._reads = Sessions(opener, pool_size)
        self._writes = Sessions(opener, pool_size)
        lease, deadline = Lease(), Deadline(self._busy_timeout)
        try:
            session = self._reads.take(lease, deadline)
            self.store_id, self.schema_version, self.lock_key = migrations.prepare(
                session, self.schema, deadline, create=not self._read_only, unfinished=unfinished
            )
            self.clock = Clock(session, self.schema)
            if not self._read_only:
                gate.check_locks(session)
        except BaseException as error:
            self._reads.refuse()
            self._writes.refuse()
            if isinstance(error, psycopg.Error):
                raise errors.translated(error, inside=False) from None
            raise
        finally:
            self._reads.give_back(lease)
        self._commits = Commits(self._writes, self.schema, self._busy_timeout)
        self._gate = gate.Gate(self.store_id)
        self._open: weakref.ref[Open] | None = None
        beat = f"SELECT {self.schema}.beat_all_1(%s)"
        self._heartbeats = Heartbeats(opener, beat)
        _ENGINES.add(self)

    @property
    def location(self) -> str:
        """The URL, without a password."""
        return self._address.location

    @property
    def db_path(self) -> str:
        """Refuse: there is no file."""
        raise errors.unsupported("db_path", "a store in PostgreSQL has no file")

    def begin_heartbeats(self, run_id: str) -> None:
        """Have a thread record a run's heartbeats."""
        self.refuse_closed()
        self._heartbeats.begin(self.arguments.text(run_id, "begin_heartbeats", "run_id"))

    def end_heartbeats(self, run_id: str) -> None:
        """Stop that."""
        self._heartbeats.end(run_id)

    def transaction(self) -> Transaction:
        """Return a transaction that is not entered yet."""
        if self.closed:
            raise StoreClosedError("transaction: the store is closed")
        return Transaction.of(self)

    def refuse_closed(self) -> None:
        """Raise if the store is closed."""
        if self.closed:
            raise StoreClosedError("the store is closed")

    def own(self) -> Open | None:
        """Return the transaction that the caller is in."""
        found = self.opened()
        return found if found is not None and found.is_callers() else None

    def opened(self) -> Open | None:
        """Return the transaction that is open, whoever is in it."""
        return None if self._open is None else self._open()

    def refuse_inside(self, why: str) -> None:
        """Raise inside the caller's own transaction."""
        if self.own() is not None:
            raise TransactionError(why)

    def begin(self, transaction: Transaction) -> None:
        """Begin a transaction, or a savepoint within the caller's."""
        self._tell("transaction", lambda: self._begin(transaction), inside=False)

    def _begin(self, transaction: Transaction) -> None:
        self.refuse_read_only()
        own = self.own()
        if own is not None:
            with own.lock:
                own.refuse_unusable()
                own.execute(f"SAVEPOINT level_{len(own.levels)}")
                transaction.entered(own, _core.Caller(), outermost=False)
            return
        deadline, lease = Deadline(self._busy_timeout), Lease()
        mark = _core.Caller()
        try:
            self._gate.hold(lease, deadline)
            gate.refuse_own(self.store_id)
            session = self._locked(lease, deadline)
            found = Open(session, lease, gate.Holder(mark, self.store_id), self._busy_timeout)
            transaction.entered(found, mark, outermost=True)
            # Weakly: what nobody can leave any more is rolled back when it is collected.
            self._open = weakref.ref(found)
        except BaseException:
            self._writes.give_back(lease)
            self._gate.release(lease)
            mark.end()
            raise

    def _locked(self, lease: Lease, deadline: Deadline) -> Session:
        """Return a session in a transaction that holds the store alone."""
        # A host that vanishes must not keep the others waiting.
        idle = int(self._address.transaction_idle_timeout * 1000)
        ghost: tuple[int, str] | None = None
        while True:
            session = self._writes.take(lease, deadline)
            try:
                if ghost is not None:
                    session.end_ghost(ghost, deadline)
                session.execute(
                    f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = {idle};"
                    f" SET LOCAL lock_timeout = {deadline.milliseconds()}; SET LOCAL state_store.written = '{{}}';"
                    f" SELECT pg_advisory_xact_lock({self.schema}.lock_key_1())".encode()
                )
            except psycopg.OperationalError as error:
                self._writes.give_back(lease)
                if not (errors.is_lost(error) and deadline.left() > 0):
                    raise
                ghost = ghost or session.mark
                self._renew()
            else:
                return session

    def commit(self, found: Open) -> None:
        """Commit a transaction."""
        try:
            self._commits.commit(found.session)
        except StateStoreError as error:
            raise type(error)(f"transaction: {error}") from None
        self.commits += 1

    def end(self, found: Open) -> None:
        """Let others write: a transaction is over."""
        if self.opened() is found:
            self._open = None
        if found.process != os.getpid():
            return
        try:
            with found.lock:
                if not found.is_over:
                    found.is_over = True
                    found.holder.release()
                    self._writes.give_back(found.lease)
        finally:
            self._gate.release(found.lease)

    def read(self, operation: str, work: _Read[T]) -> T:
        """Read in a session of the pool, or in the caller's own transaction so that it sees what it wrote."""
        own = self.own()
        if own is not None:
            return self._tell(operation, lambda: own.run(work), inside=True)
        return self._tell(operation, lambda: self._read(work), inside=False)

    def _read(self, work: _Read[T]) -> T:
        deadline = Deadline(self._busy_timeout)
        while True:
            lease = Lease()
            try:
                return work(self._reads.take(lease, deadline))
            except psycopg.OperationalError as error:
                # The server has ended a session that waited in the pool, or a failover all of them.
                if not (lease.was_used and errors.is_lost(error)):
                    raise
                self._reads.renew()
            finally:
                self._reads.give_back(lease)

    def write(self, operation: str, work: _Write[T], *, advice: str = SAFE, repeats: bool = True) -> T:
        """Write in the caller's own transaction, or by itself.

        `work` is given the session, and how long in milliseconds it may wait for the lock of the store, which it takes;
        None where it is held already. Where its outcome is unknown, it is repeated, if that `repeats` nothing else than
        itself.
        """
        own = self.own()
        if own is not None:
            # A store that can only be read has none.
            return self._tell(operation, lambda: own.run(lambda session: work(session, None)), inside=True)
        return self._tell(operation, lambda: self._write(work, advice, repeats), inside=False)

    def send(
        self, operation: str, statements: _Statements, *, repeats: bool = True, several: bool = False
    ) -> list[tuple[Any, ...]]:
        """Write in one round trip, as `write` does, by one statement or `several`; return the rows of the first.

        `statements` is given what `work` is. At least one statement takes the lock; none looks at another's answer.
        """
        own = self.own()
        if own is not None:
            return self._tell(operation, lambda: own.send(statements(None)), inside=True)
        return self.write(
            operation, lambda session, wait: in_transaction(session, statements(wait), several=several), repeats=repeats
        )

    def _write(self, work: _Write[T], advice: str, repeats: bool) -> T:
        self.refuse_read_only()
        deadline = Deadline(self._busy_timeout)
        self._gate.pass_through(deadline)
        gate.refuse_own(self.store_id)
        done = writes.write(self._writes, self._renew, work, deadline, repeats=repeats, advice=advice)
        self.commits += 1
        return done

    def _renew(self) -> None:
        """Connect anew: the server is gone, or another is the primary now."""
        self._reads.renew()
        self._writes.renew()

    def refuse_read_only(self) -> None:
        """Raise if the store can only be read."""
        self.refuse_closed()
        if self._read_only:
            raise ReadOnlyError("the store was opened with read_only=True; nothing was changed")

    def _tell(self, operation: str, work: Callable[[], T], *, inside: bool) -> T:
        """Do a call's work. Its errors are headed with the operation, those of the server are translated.

        They have no context: what leaves a block of the caller's is the caller's to explain.
        """
        try:
            self.refuse_closed()
            return work()
        except psycopg.Error as error:
            found = errors.translated(error, inside=inside)
            if self.closed and (error.sqlstate == "57014" or errors.is_lost(error)):
                # It was cancelled, or its session closed, by `close`.
                found = StoreClosedError("the store is closed")
            own = self.own() if inside else None
            if own is not None and isinstance(found, TransactionDoomedError):
                own.doomed = True
        except StateStoreError as error:
            found = error
        raise type(found)(f"{operation}: {found}")

    def close(self) -> None:
        """Close every connection."""
        if self.closed:
            return
        self.closed = True
        self._heartbeats.close()
        self._gate.close()
        deadline = Deadline(self._busy_timeout)
        found = self.opened()
        if found is not None and found.process == os.getpid() and found.lock.acquire(timeout=deadline.left()):
            try:
                # The session ends, and with it the transaction.
                found.session.close()
                self.end(found)
            finally:
                found.lock.release()
        self._reads.close(deadline)
        # A write that goes on after that waits for others, most likely.
        self._writes.close(Deadline(min(_TO_END, deadline.left())))

    def forget(self) -> None:
        """Begin anew, in a forked child. What is open belongs to the parent."""
        self._gate.forget()
        self._heartbeats.forget()

    def __del__(self) -> None:
        """Close what was not closed."""
        if not self.__dict__.get("closed", True) and "_heartbeats" in self.__dict__:
            self._busy_timeout = 0.0
            self.close()


def _forget_all() -> None:
    gate.forget_holders()
    for engine in list(_ENGINES):
        engine.forget()


os.register_at_fork(after_in_child=_forget_all)
