"""Ad-hoc SELECTs, for `StateStore.connection`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from orchestrator.state_store._core import Rows
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store.exceptions import (
    InvalidTypeError,
    InvalidValueError,
    QueryError,
    ReadOnlyError,
    StateStoreError,
)

_PURE = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW)\b", re.IGNORECASE | re.DOTALL
)
_LASTING = re.compile(r'\b(set_config|pg_(?:try_)?advisory_\w+)"?\s*\(', re.IGNORECASE)
"""Functions that a read may call, and that change the session for others."""

_OF_THE_STORE = ("53", "55", "57", "58", "08", "XX", "40")
"""The classes of errors that are not the fault of the SQL."""


class AdHoc(Engine):
    """Reads that are written by the caller. They run in a transaction that only reads, and is rolled back."""

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Run one pure read; return the column names and the rows."""
        sql = self.arguments.text(sql, "execute", "sql")
        if isinstance(parameters, Mapping) and parameters:
            raise InvalidValueError("execute: a store in PostgreSQL takes parameters by number: $1 and a sequence")
        if isinstance(parameters, str) or not isinstance(parameters, Sequence | Mapping):
            found = type(parameters).__name__
            raise InvalidTypeError(f"execute: parameters must be a sequence or a mapping, not {found}")
        values = [self._value(value, number) for number, value in enumerate(parameters, 1)]
        if not _PURE.match(sql):
            raise ReadOnlyError("execute: only pure reads are allowed here, one statement at a time")
        lasting = _LASTING.search(sql)
        if lasting is not None:
            raise ReadOnlyError(f"execute: only pure reads are allowed here: {lasting[1]} changes the session")

        def read(session: psycopg.Connection) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
            inside = session.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE
            session.execute(
                (b"" if inside else b"BEGIN READ ONLY; ")
                + b"SAVEPOINT adhoc; SET LOCAL transaction_read_only = on; SET LOCAL DateStyle = ISO;"
                + f" SET LOCAL IntervalStyle = postgres; SET LOCAL search_path = {self.schema}, public".encode()
            )
            try:
                return _run(session, sql, values)
            finally:
                # What its functions may have left is undone. A lock of the session's alone is not, unless it is let go.
                with suppress(psycopg.Error, StateStoreError):
                    session.execute(
                        b"ROLLBACK TO SAVEPOINT adhoc; SELECT pg_advisory_unlock_all(); "
                        + (b"RELEASE SAVEPOINT adhoc" if inside else b"ROLLBACK")
                    )

        return self.read("execute", read)

    def _value(self, value: Any, number: int) -> Any:
        if value is None or isinstance(value, bool | int | float | bytes):
            return value
        if isinstance(value, str):
            return self.arguments.escape(self.arguments.text(value, "execute", f"parameter {number}"))
        raise InvalidTypeError(f"execute: parameter {number} cannot be a {type(value).__name__}")


def _run(session: psycopg.Connection, sql: str, values: Sequence[Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    try:
        # In a pipeline the extended protocol is used, which takes one statement.
        with session.pipeline(), psycopg.RawCursor(session) as cursor:
            cursor.execute(sql.encode(), values)
            rows = [tuple(map(_plain, row)) for row in cursor.fetchall()]
            # In a pipeline they are not known before the rows.
            columns = tuple(column.name for column in cursor.description or ())
    except psycopg.Error as error:
        if error.sqlstate == "25006":
            raise ReadOnlyError(f"only pure reads are allowed here: {error.diag.message_primary}") from None
        if errors.is_lost(error) or (error.sqlstate or "")[:2] in _OF_THE_STORE:
            raise
        raise QueryError(errors.message(error)) from None
    return columns, rows


def _plain(value: Any) -> Any:
    return Rows.unescape(value) if isinstance(value, str) else value
