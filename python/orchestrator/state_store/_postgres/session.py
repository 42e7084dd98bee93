"""One session with a server: how it is opened, and what is done when its answers do not come."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store.exceptions import (
    CannotOpenError,
    StateStoreError,
    StorageIOError,
    StoreBusyError,
    TransactionError,
)
from psycopg.generators import execute
from psycopg.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.state_store._postgres.address import Address
    from psycopg.abc import PQGen

T = TypeVar("T")

_ACTIVE = psycopg.pq.TransactionStatus.ACTIVE
_OPEN = psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR

_COMES_SOON = re.compile(
    "too many (clients|connections)|connection slots are reserved|no more connections allowed"
    "|the database system is (starting up|shutting down|in recovery mode|not yet accepting connections)"
)
"""What a server says that will take sessions later. libpq tells no SQLSTATE of an opening."""


class _NoAnswer(psycopg.OperationalError):
    """The time is over, and the session has not even been cancelled."""


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A session whose calls end, also where nothing answers.

    Attributes
    ----------
    deadline
        The end of the call's waits. A server that is silent then is asked, in another session, what this one does.
        If it works, it gets as long again; if it waits for a standby or a lock, or nobody answers, it is cancelled.
    warnings
        What the server has warned of. A warning in the answer of a commit says that it may be lost.
    mark
        What tells the session apart from all others of the server; None behind a pooler, which does not show it.
    """

    deadline: Deadline | None = None
    mark: tuple[int, str] | None = None
    _grace: Deadline | None = None
    _address: Address

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.warnings: list[str] = []
        self._prepared_calls: set[bytes] = set()
        self._process = os.getpid()
        # The handler must not refer to the session: a lost one is closed when the last reference goes.
        self.add_notice_handler(partial(_note, self.warnings))

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """Do what psycopg has to do, within the deadline."""
        self._refuse_child()
        try:
            return super().wait(self._watched(gen), *args, **options)
        except BaseException as error:
            # After Ctrl-C, psycopg cancels what the session was doing. Where it could not, nobody can.
            lost = isinstance(error, _NoAnswer) or not isinstance(error, psycopg.Error)
            if lost and self._process == os.getpid() and self.pgconn.transaction_status == _ACTIVE:
                with suppress(psycopg.Error, RuntimeError):
                    gen.close()
                self.pgconn.finish()
            raise

    def call(self, function: str, values: Sequence[str | int | None]) -> None:
        """Call a function that returns nothing.

        A cursor of psycopg's works for that as long as half of what the server does, of which it has the interpreter.
        """
        self.wait(self._call(function, [None if value is None else str(value).encode() for value in values]))

    def _call(self, function: str, values: list[bytes | None]) -> PQGen[None]:
        numbers = ", ".join(f"${number}" for number in range(1, len(values) + 1))
        sql, name = f"SELECT {function}({numbers})".encode(), function.rpartition(".")[2].encode()
        if self.prepare_threshold is None:
            self.pgconn.send_query_params(sql, values)
            return (yield from self._executed())
        while True:
            if name not in self._prepared_calls:
                self.pgconn.send_prepare(name, sql)
                yield from self._executed()
                self._prepared_calls.add(name)
            self.pgconn.send_query_prepared(name, values)
            try:
                return (yield from self._executed())
            except psycopg.errors.InvalidSqlStatementName:
                # After a ROLLBACK, psycopg drops all that is prepared, for what it has prepared itself.
                self._prepared_calls.discard(name)

    def _executed(self) -> PQGen[None]:
        for result in (yield from execute(self.pgconn)):
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)

    def _watched(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass everything on, and look at the time whenever nothing has come for a while."""
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready:
                    self._look_at_time(sending=bool(wanted & Wait.W))
                wanted = gen.send(ready)
        except StopIteration as end:
            found: T = end.value
            return found

    def _refuse_child(self) -> None:
        # A signal handler may have forked while this waited: the answer, and the rest of the call, are for the parent.
        if self._process != os.getpid():
            raise TransactionError("this process was forked inside the call, which continues in the parent only")

    def _look_at_time(self, *, sending: bool) -> None:
        self._refuse_child()
        if self.deadline is None or self.deadline.left() > 0:
            return
        if self._grace is None:
            if self._works(sending=sending):
                self.deadline = Deadline(self.deadline.seconds)
                return
            self._grace = Deadline(min(max(self.deadline.seconds / 10, 0.5), 5.0))
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=self._grace.left())
        elif self._grace.left() == 0:
            raise _NoAnswer("the server has not answered within busy_timeout")

    def _works(self, *, sending: bool) -> bool:
        """Say whether the server is busy with what this session asked of it, or is for what is `sending`."""
        if self.mark is None:
            return False
        idle = ["Lock"] if sending else ["Client", "Lock"]
        sql = """SELECT state = 'active' AND coalesce(wait_event_type <> ALL (%s::text[]), true)
                AND coalesce(wait_event, '') <> 'SyncRep'
            FROM pg_stat_get_activity(%s) WHERE extract(epoch FROM backend_start)::text = %s"""
        place = {"host": self.pgconn.host, "hostaddr": self.pgconn.hostaddr, "port": self.pgconn.port}
        same = {name: text.decode() for name, text in place.items() if text}
        with suppress(psycopg.Error), _connected({**_parameters(self._address), **same, "connect_timeout": 2}) as other:
            other.deadline = Deadline(1.0)
            return other.execute(sql, [idle, *self.mark]).fetchall() == [(True,)]
        return False

    @contextmanager
    def block(self, begin: str = "BEGIN") -> Iterator[None]:
        """Make one transaction of what is done in a `with` block; what fails is rolled back."""
        self.execute(begin.encode())
        try:
            yield
            self.execute(b"COMMIT")
        except BaseException:
            # A commit that failed has rolled back by itself.
            if self.pgconn.transaction_status in _OPEN:
                self.execute(b"ROLLBACK")
            raise

    def end_ghost(self, mark: tuple[int, str], deadline: Deadline) -> None:
        """End a session that was cut off, so that what it may still be doing is done or undone.

        Raises
        ------
        psycopg.OperationalError
            When it does not end.
        """
        sql = """SELECT pg_terminate_backend(pid, %s) FROM pg_stat_get_activity(%s)
            WHERE extract(epoch FROM backend_start)::text = %s"""
        if self.execute(sql, [deadline.milliseconds(), *mark]).fetchall() == [(False,)]:
            raise psycopg.OperationalError("the session that was cut off does not end")

    @property
    def was_cancelled(self) -> bool:
        """Whether its last call was cancelled: the server may hear of that during the next one."""
        return self._grace is not None

    def begin_call(self, deadline: Deadline) -> None:
        """Say until when the answers must come."""
        self.deadline, self._grace = deadline, None
        self.warnings.clear()

    def __del__(self, *_: Any) -> None:
        """Let the session end by itself, without a warning: it does so in the process that opened it only."""


class Opener:
    """Opens the sessions of a store, all alike."""

    def __init__(self, address: Address, *, full: bool, writing: bool) -> None:
        self._address = address
        self._parameters = _parameters(address)
        if writing:
            self._parameters.setdefault("target_session_attrs", "read-write")
        if not address.pooler:
            options = (
                # To compile one takes longer than most statements do.
                "-c jit=off",
                str(address.parameters.get("options") or ""),
                "-c default_transaction_isolation=read\\ committed",
                f"-c synchronous_commit={'on' if full else 'off'}",
                "-c client_min_messages=warning",
            )
            self._parameters["options"] = " ".join(options).strip()
        self._full = full
        self._was_open = False

    def open(self, deadline: Deadline) -> Session:
        """Open a session, in autocommit.

        Of a store that was open before, the servers may be down or without a primary for a while: that is waited for.

        Raises
        ------
        CannotOpenError, StorageIOError, StoreBusyError
            When there is no server, at opening and later; when it takes no more sessions.
        """
        while True:
            self._parameters["connect_timeout"] = max(2, int(min(deadline.left(), 30.0)))
            try:
                session = _connected(self._parameters)
                session._address = self._address
                session.begin_call(deadline)
                self._identify(session)
            except psycopg.Error as error:
                soon = _COMES_SOON.search(str(error)) is not None
                found = self._error(error, soon)
            else:
                self._was_open = True
                return session
            if not ((self._was_open or soon) and deadline.left() > 0):
                # Not from within the handler: frames of psycopg know the password.
                raise found
            deadline.wait_to_try_again()

    def _error(self, error: psycopg.Error, soon: bool) -> StateStoreError:
        what = errors.message(error)
        if soon:
            return StoreBusyError(f"{what}; nothing was changed")
        return StorageIOError(f"{what}; nothing was written") if self._was_open else CannotOpenError(what)

    def _identify(self, session: Session) -> None:
        """Learn which session it is; behind a pooler, whether all of them are as the store needs them."""
        if not self._address.pooler:
            sql = "SELECT extract(epoch FROM backend_start)::text FROM pg_stat_get_activity(pg_backend_pid())"
            [(began,)] = session.execute(sql).fetchall()
            session.mark = session.info.backend_pid, began
            return
        sql = """SELECT current_setting('default_transaction_isolation'), current_setting('synchronous_commit'),
            current_setting('client_min_messages')"""
        [(isolation, synchronous, shown)] = session.execute(sql).fetchall()
        if isolation != "read committed":
            raise CannotOpenError(f"default_transaction_isolation of the role is {isolation}: set it to read committed")
        if self._full and synchronous == "off":
            raise CannotOpenError("synchronous_commit of the role is off: set it to on, or pass synchronous='NORMAL'")
        if shown == "error":
            raise CannotOpenError(
                "client_min_messages of the role hides warnings, which tell of commits: set it to warning"
            )


def _parameters(address: Address) -> dict[str, Any]:
    return {
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": "orchestrator.state_store",
        **address.parameters,
        "client_encoding": "UTF8",
        # Behind a pooler, another session may be asked for what this one has prepared.
        "prepare_threshold": None if address.pooler else 5,
    }


def _connected(parameters: dict[str, Any]) -> Session:
    return Session.connect(autocommit=True, **parameters)


def _note(warnings: list[str], notice: psycopg.errors.Diagnostic) -> None:
    # One with a context is of a statement: a trigger of others has raised it.
    if notice.severity_nonlocalized == "WARNING" and notice.context is None:
        warnings.append(" ".join((notice.message_primary or "").split()))
