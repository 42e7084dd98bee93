"""The SQL trace: each statement of a store opened with `trace_sql=True`, as a record of `logging`."""

from __future__ import annotations

import logging

logger: logging.Logger = logging.getLogger("orchestrator.state_store")
logger.addHandler(logging.NullHandler())


def show(db_path: str, statements: list[tuple[str, float]], not_kept: int) -> None:
    """Log the statements that have ended, each with its milliseconds, and how many ended before them."""
    if not_kept:
        extra = {"sql": "", "milliseconds": 0.0, "db_path": db_path}
        logger.debug("%d statements not shown", not_kept, extra=extra)
    for sql, milliseconds in statements:
        extra = {"sql": sql, "milliseconds": milliseconds, "db_path": db_path}
        logger.debug("%s (%.3f ms)", sql, milliseconds, extra=extra)
