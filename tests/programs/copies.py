"""Copies that are killed, and rows as only other programs write them. `fill` and `rows` use plain `sqlite3`."""

import sqlite3
from contextlib import closing
from typing import Any

from orchestrator.state_store import CopyProgress, copy_store, moment

from tests.programs import hear, say

TEXTS = [
    "",
    "\U0010ffff0 and \U0010ffff1",
    "a\0b",
    "\U0010ffff",
    "\U0010ffff0\0\U0010ffff1",
    "\\N\t\r\n\\.",
    "'; -- %s $1 {}",
    "\ufeff\u2028e\u0301\u00e9",
    "\U0001f600" * 50,
    "x" * 9000,
]
JSON = [
    "[]",
    "{}",
    "NaN",
    "[-0.0, 1E400, -Infinity, 5e-324]",
    '"\\ud800 \\u0000 \\udc00"',
    '{"b": 1, "a": 2, "b": 3}',
    " [ 1 ,2 ]\n",
    str(2**200),
    "[" * 990 + "]" * 990,
    "'not' json, but \0 text",
]
TIMES = [
    "2026-01-02T03:04:05.678901+00:00",
    "2026-01-02T03:04:05+00:00",
    "2026-01-02 03:04:05",
    "yesterday",
    "",
]


def at(texts: list[Any], number: int) -> Any:
    return texts[number % len(texts)]


def run_of(number: int) -> tuple[Any, ...]:
    ending = [None, at(TIMES, number), at(TIMES, number + 1)]
    return (
        f"{at(TEXTS, number)[:9]} run {number * 7919 % 997}-{number}",
        at(TEXTS, number)[:2000],
        at(TIMES, number),
        at(ending, number),
        at(["running", "completed", at(TEXTS, number // 3)[:2000]], number),
        at(JSON, number),
        at([None, *TEXTS], number),
        at(ending, number // 2),
        at(ending, number // 5),
        at([None, None, None, at(TIMES, number)], number),
    )


def item_of(number: int, run_id: str, *, long: bool) -> tuple[Any, ...]:
    texts = TEXTS if long else TEXTS[:9]
    json = [at(JSON if long else JSON[:8], number * factor) for factor in (1, 3, 7, 9, 11)]
    return (
        f"{number * 7919 % 1000003} {at(TEXTS, number)[:9]}",
        run_id,
        at(TEXTS, number // 2)[:300],
        at(texts, number),
        at(texts, number + 1),
        *json,
        at([None, *TEXTS[:9]], number),
        at([None, *texts], number // 2),
        at(TIMES, number // 3),
        at([None, *TIMES], number),
    )


def fill(path: str, items: int, long: bool) -> None:
    """Add runs, items and telemetry to a store's file."""
    runs = [run_of(number) for number in range(max(items // 100, 30))]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = OFF")
        for table, rows in (
            ("runs", runs),
            ("intel_items", (item_of(number, at(runs, number)[0], long=long) for number in range(items))),
            ("telemetry", [(run[0], at(JSON, number), at(TIMES, number)) for number, run in enumerate(runs[::-2])]),
        ):
            columns = moment.TABLES[table]
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def rows(path: str) -> list[list[list[str | None]]]:
    """Return all rows of a file, each table in the order in which they were recorded, telemetry by its run."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        for table, order in (("runs", "rowid"), ("intel_items", "rowid"), ("telemetry", "run_id")):
            found.append([list(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")])
    return found


def copy(src: str, dst: str, most_rows: int) -> dict[str, Any]:
    """Copy a store, and wait to be told at each step."""
    moment.MOST_ROWS = most_rows

    def tell(progress: CopyProgress) -> None:
        say(f"{progress.step} {progress.rows}")
        hear()

    return vars(copy_store(src, dst, progress=tell))
