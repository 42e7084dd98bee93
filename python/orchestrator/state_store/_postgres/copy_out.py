"""The rows of a query as a stream: one round trip, and never many of them in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

    _Waits = Generator[Wait, Ready | int, "PGresult | None"]

_PART = 1 << 18
"""Bytes that are handed over at a time, or a little more: whole rows."""


def copy_out(session: psycopg.Connection, query: str, values: Sequence[Any], take: Callable[[bytes], None]) -> None:
    """Hand over all rows of a query in PostgreSQL's binary form.

    psycopg's own `copy` waits for each row by itself, which takes longer than all the rest. What `take` raises is
    raised once all rows have come, so that the session can go on.
    """
    sql = psycopg.ClientCursor(session).mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)".encode(), values)
    error: list[Exception] = []
    parts: list[memoryview] = []
    size = 0

    def hand_over() -> None:
        if not error:
            try:
                take(b"".join(parts))
            except Exception as raised:
                error.append(raised)
        parts.clear()

    def stream(pgconn: PGconn) -> _Waits:
        nonlocal size
        pgconn.send_query(sql.encode())
        while pgconn.flush():
            yield Wait.W
        result = yield from _result(pgconn)
        if result is not None and result.status == ExecStatus.COPY_OUT:
            while (row := pgconn.get_copy_data(1))[0] >= 0:
                if not row[0]:
                    yield from _more(pgconn)
                    continue
                parts.append(row[1])
                size += row[0]
                if size >= _PART:
                    hand_over()
                    size = 0
            hand_over()
            result = yield from _result(pgconn)
        while (yield from _result(pgconn)) is not None:
            pass
        return result

    result = session.wait(stream(session.pgconn))
    if result is not None and result.status != ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result)
    if error:
        raise error[0]


def _result(pgconn: PGconn) -> _Waits:
    while pgconn.is_busy():
        yield from _more(pgconn)
    return pgconn.get_result()


def _more(pgconn: PGconn) -> Generator[Wait, Ready | int, None]:
    while not (yield Wait.R):
        pass
    pgconn.consume_input()
