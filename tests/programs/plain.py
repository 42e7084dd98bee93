"""The standard library's `sqlite3`, as the predecessor and other programs use it. No store is opened here."""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from tests.programs import hear, say


def run(path: str, statements: Sequence[tuple[str, list[Any]]]) -> list[list[Any]]:
    """Run statements, each in a transaction of its own; return the rows of the last."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA foreign_keys = ON")
    rows: list[list[Any]] = []
    for sql, parameters in statements:
        rows = connection.execute(sql, parameters).fetchall()
    connection.close()
    return rows


def run_and_die(path: str, statements: Sequence[str]) -> None:
    """Run statements and end as a crash does: the log, or the journal of what was not committed, stays."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    for sql in statements:
        connection.execute(sql).fetchall()
    say()
    os._exit(0)


def hold(path: str) -> None:
    """Hold the file's write lock from 'ready' until told to let go."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("BEGIN IMMEDIATE")
    say()
    hear()
    connection.execute("ROLLBACK")
    connection.close()
