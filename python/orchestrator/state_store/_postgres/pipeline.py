"""Several statements in one round trip."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from orchestrator.state_store.exceptions import StateStoreError
from psycopg.generators import send

Statement = tuple[bytes, Sequence[Any]]
"""SQL, and its parameters."""


class Abandoned(Exception):
    """Raised by what makes the statements: undo those that were sent. They are to be made in another way."""


def pipelined(
    session: psycopg.Connection, begin: bytes, statements: Iterable[Statement], end: bytes
) -> list[tuple[Any, ...]]:
    """Run statements between two others; return the rows of the first.

    The next statement is made while the server has the one before. The first that fails ends it, with no other done.
    None is prepared: psycopg would believe that of one behind a failure, which the server has skipped.
    """
    first: psycopg.Cursor | None = None
    failed: list[Exception] = []
    handled = sys.exception()
    try:
        with session.pipeline() as pipeline:
            alive = weakref.proxy(pipeline)
            vars(pipeline)["_fetch_gen"] = lambda *, flush: _sent_and_fetched(alive)
            try:
                session.execute(begin, prepare=False)
                for sql, parameters in statements:
                    cursor = session.execute(sql, parameters, prepare=False)
                    first = first or cursor
                    # The server has it before the next one is made: psycopg sends a part only. What waits to be sent is
                    # moved in memory with each part that is, so that a gigabyte would never be sent.
                    session.wait(send(session.pgconn))
                session.execute(end, prepare=False)
            except (psycopg.Error, Abandoned) as error:
                # Raised here, it would be logged by psycopg if leaving the pipeline fails as well.
                failed.append(error)
        if failed:
            raise failed.pop()
    except psycopg.Error as error:
        interrupt = error.__context__
        if interrupt is not handled and not isinstance(interrupt, Exception | None):
            # Ctrl-C while the pipeline was left, which then failed.
            raise interrupt from None
        # What the server says is worth more than that the rest could not be made.
        if failed and isinstance(failed[0], psycopg.Error):
            raise failed.pop() from None
        raise
    return [] if first is None else first.fetchall()


def _sent_and_fetched(pipeline: psycopg.Pipeline) -> Generator[Any, Any, None]:
    """Send what is left of a pipeline, its Sync at last, and fetch the results.

    psycopg would send a Flush behind the Sync. The server would take it for activity, and never end a transaction in
    which nothing happens after that.
    """
    yield from send(pipeline.pgconn)
    yield from psycopg.Pipeline._fetch_gen(pipeline, flush=False)


def in_transaction(
    session: psycopg.Connection, statements: Iterable[Statement], *, several: bool
) -> list[tuple[Any, ...]]:
    """Run statements, `several` or one, as one transaction; return the rows of the first."""
    if not several:
        [(sql, parameters)] = statements
        return session.execute(sql, parameters).fetchall()
    try:
        return pipelined(session, b"BEGIN", statements, b"COMMIT")
    except BaseException:
        # If this fails, the session is not kept; the first error is the one to tell, Ctrl-C above all.
        with suppress(psycopg.Error, StateStoreError):
            session.execute(b"ROLLBACK")
        raise
