"""What a copy of a store, row by row, reads and writes."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from orchestrator.state_store._core import Arguments, Rows
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.sessions import Lease
from orchestrator.state_store.exceptions import CannotOpenError, StateStoreError, StoreBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.state_store._postgres.session import Session

T = TypeVar("T")

_ESCAPE = "\U0010ffff"
_OPERATION = "copy_store"


class Snapshot:
    """One moment of a store."""

    ORDER = "seq"
    UPDATED_AT = (
        "greatest(t.updated_at,"
        " (SELECT max(s.seen_at) FROM item_seen s WHERE s.run_id = t.run_id AND s.item_id = t.item_id))"
    )

    def __init__(
        self, session: Session, busy_timeout: float, tell: Callable[..., Any], give_back: Callable[[], None]
    ) -> None:
        self._session, self._busy_timeout, self._tell, self._give_back = session, busy_timeout, tell, give_back

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one pure read; return the rows."""
        self._session.begin_call(Deadline(self._busy_timeout))
        found = self._tell(_OPERATION, lambda: self._session.execute(sql.encode()).fetchall(), inside=False)
        return [tuple([_unescaped(cell) for cell in row]) for row in found]

    def close(self) -> None:
        """Let go of it."""
        with suppress(psycopg.Error, StateStoreError):
            self._session.execute(b"ROLLBACK")
        self._give_back()


class Copying(Engine):
    """A store that is copied, or becomes a copy."""

    def pin(self) -> Snapshot:
        """Pin the store as it is now, for reads while others write."""
        return self._tell(_OPERATION, self._pin, inside=False)

    def _pin(self) -> Snapshot:
        lease = Lease()
        try:
            session = self._reads.take(lease, Deadline(self._busy_timeout))
            session.execute(
                f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = {self.schema};"
                " SET LOCAL idle_in_transaction_session_timeout = 0; SELECT 1".encode()
            )
        except BaseException:
            self._reads.give_back(lease)
            raise
        return Snapshot(session, self._busy_timeout, self._tell, partial(self._reads.give_back, lease))

    def copy_mark(self) -> str | None:
        """Return the mark of a copy that is not finished; None where there is none."""
        return self.read(_OPERATION, self._mark)

    def _mark(self, session: Session) -> str | None:
        [(found,)] = session.execute("SELECT to_regclass(%s)", [f"{self.schema}.unfinished_copy"]).fetchall()
        if found is None:
            return None
        [(mark,)] = session.execute(f"SELECT mark FROM {self.schema}.unfinished_copy".encode()).fetchall()
        return str(mark)

    def begin_copy(self, mark: str) -> None:
        """Make the store a copy that is not finished, without rows."""
        schema = self.schema

        def begin(session: Session) -> None:
            any_row = f"SELECT EXISTS (SELECT FROM {schema}.runs) OR EXISTS (SELECT FROM {schema}.intel_items)"
            if self._mark(session) is None and session.execute(any_row.encode()).fetchall() == [(True,)]:
                raise CannotOpenError("it holds data already")
            session.execute(
                f"TRUNCATE {schema}.runs, {schema}.intel_items, {schema}.item_seen, {schema}.telemetry;"
                f" DROP TABLE IF EXISTS {schema}.unfinished_copy;"
                f" CREATE TABLE {schema}.unfinished_copy (mark text PRIMARY KEY)".encode()
            )
            session.execute(f"INSERT INTO {schema}.unfinished_copy VALUES (%s)".encode(), [mark])

        self._alone(begin)

    def copy_rows(
        self, table: str, columns: list[str], rows: list[tuple[str | None, ...]], before: str, mark: str
    ) -> None:
        """Insert rows as they are, and set the mark, which must be `before`; all or nothing."""

        def insert(session: Session) -> None:
            sql = f"UPDATE {self.schema}.unfinished_copy SET mark = %s WHERE mark = %s"
            _refuse_another(session.execute(sql.encode(), [mark, before]).rowcount)
            self._insert(session, table, columns, rows)

        self._alone(insert)

    def _insert(self, session: Session, table: str, columns: list[str], rows: list[tuple[str | None, ...]]) -> None:
        sql = f"COPY {self.schema}.{table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
        with session.cursor() as cursor, cursor.copy(sql.encode()) as copy:
            copy.set_types(["text"] * len(columns))
            for row in rows:
                copy.write_row([_escaped(cell) for cell in row])

    def copy_fault(self, table: str, columns: list[str], row: tuple[str | None, ...]) -> str | None:
        """Return why a row cannot be inserted; None if it can."""

        def attempt(session: Session) -> str | None:
            try:
                # A copy that was killed may have inserted it.
                delete = f"DELETE FROM {self.schema}.{table} WHERE {columns[0]} = %s"
                session.execute(delete.encode(), [_escaped(row[0])])
                self._insert(session, table, columns, [row])
            except psycopg.Error as error:
                if error.sqlstate != "54000":
                    raise
                return errors.message(error)
            finally:
                if not session.closed:
                    session.execute(b"ROLLBACK; BEGIN")
            return None

        return self._alone(attempt)

    def end_copy(self, mark: str) -> None:
        """Make it a store like any: the copy is finished."""
        schema = self.schema

        def end(session: Session) -> None:
            sql = f"DELETE FROM {schema}.unfinished_copy WHERE mark = %s"
            _refuse_another(session.execute(sql.encode(), [mark]).rowcount)
            session.execute(
                f"DROP TABLE {schema}.unfinished_copy;"
                f" ANALYZE {schema}.runs, {schema}.intel_items, {schema}.telemetry".encode()
            )

        self._alone(end)

    def _alone(self, work: Callable[[Session], T]) -> T:
        """Do work in a transaction, alone."""

        def alone(session: Session, wait: int | None) -> T:
            with session.block(f"BEGIN; SET LOCAL lock_timeout = {wait or 1}"):
                session.execute(f"SELECT pg_advisory_xact_lock({self.schema}.lock_key_1())".encode())
                return work(session)

        # The mark of the copy says what was written: the call as a whole goes on from there.
        return self.write(_OPERATION, alone, repeats=False)


def _escaped(cell: str | None) -> str | None:
    return Arguments.escape(cell) if cell is not None and ("\0" in cell or _ESCAPE in cell) else cell


def _unescaped(cell: Any) -> Any:
    return Rows.unescape(cell) if isinstance(cell, str) and _ESCAPE in cell else cell


def _refuse_another(changed: int) -> None:
    if changed != 1:
        raise StoreBusyError("another copy_store writes to it; wait for its end, and repeat the call")
