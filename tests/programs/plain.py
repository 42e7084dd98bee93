"""The standard library's `sqlite3`, as the predecessor and other programs use it. No store is opened here."""

import json
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
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


def write_and_checkpoint_twice(path: str) -> None:
    """Write rows, and more of them while told that somebody reads; checkpoint the log then, and when it has gone."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 0"):
        connection.execute(f"PRAGMA {statement}")
    connection.execute("CREATE TABLE runs(id INTEGER PRIMARY KEY, text)")
    for first in (0, 1000):
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO runs VALUES (?, ?)", [(first + row, "x" * 1000) for row in range(1000)])
        connection.execute("COMMIT")
        if first:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        say(f"{first + 1000}")
        hear()
    for _ in range(2):
        try:
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.OperationalError as error:
            say(f"{type(error).__name__}: {error}")
        else:
            say("checkpointed")
    connection.execute("INSERT INTO runs VALUES (-1, 'the log starts over')")
    os._exit(0)


def count_rows(path: str) -> int:
    """Return how many rows can be read, as far as a damaged file lets them be, of those with numbers of their own."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            return len(connection.execute("SELECT 1 FROM runs WHERE id >= 0").fetchall())
        except sqlite3.DatabaseError:
            return 0


def record(path: str, texts: Iterable[str | bytes]) -> None:
    """Record a run of each text, with its number for an id, and an item with the text, whatever it is, for its claims.

    Where it is called in the process of a test, no store may be open on the file.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for number, text in enumerate(texts):
            connection.execute(
                """INSERT INTO runs (run_id, run_type, started_at, status, settings_snapshot_json)
                VALUES (?, 't', '', 'running', '{}')""",
                (str(number),),
            )
            connection.execute(
                """INSERT INTO intel_items (item_id, run_id, item_type, title, summary, claims_json, evidence_json,
                    scores_json, risk_flags_json, explainability_json, created_at)
                VALUES (?1, ?1, 'note', 't', 's', CAST(?2 AS TEXT), '[]', '{}', '[]', '[]', '')""",
                (str(number), text),
            )


def insert(path: str, table: str, rows_file: str) -> None:
    """Insert the rows in a file, a JSON object each, as they are. All of them have the same columns."""
    rows = json.loads(Path(rows_file).read_text(encoding="utf-8"))
    columns = list(rows[0])
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executemany(sql, [[row[column] for column in columns] for row in rows])


def hold(path: str) -> None:
    """Hold the file's write lock from 'ready' until told to let go."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("BEGIN IMMEDIATE")
    say()
    hear()
    connection.execute("ROLLBACK")
    connection.close()
