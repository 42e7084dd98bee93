"""One moment of a store, read row by row as it is: for `copy_store`. The SQL is that of every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.state_store.exceptions import CorruptDatabaseError, StateStoreError
from orchestrator.state_store.excerpts import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.state_store.core import Snapshot

TABLES: dict[str, tuple[str, ...]] = {
    "runs": (
        *("run_id", "run_type", "started_at", "finished_at", "status", "settings_snapshot_json", "notes"),
        *("heartbeat_at", "recovered_at", "pruned_at"),
    ),
    "intel_items": (
        *("item_id", "run_id", "item_type", "title", "summary"),
        *("claims_json", "evidence_json", "scores_json", "risk_flags_json", "explainability_json"),
        *("decision", "decision_reason", "created_at", "updated_at"),
    ),
    "telemetry": ("run_id", "telemetry_json", "created_at"),
}
"""The columns of each table, its key first, and the tables in an order in which each row's run is there before it."""

MOST_ROWS = 5000
MOST_BYTES = 16 << 20
"""How much is read at a time: whichever is less, and a row at least."""

MOST_NAMED = 5
"""How many rows a message names."""

Row = tuple[Any, ...]
Sizes = dict[str, tuple[int, int]]
"""How many rows each table has, and how many bytes are in them."""


class Batch(NamedTuple):
    """Rows, the bytes in them, and where the last one is."""

    rows: list[Row]
    bytes: int
    last: int


def _columns(moment: Snapshot, table: str) -> list[str]:
    """Return SQL for the columns of a row."""
    return [moment.UPDATED_AT if name == "updated_at" else f"t.{name}" for name in TABLES[table]]


def _size(moment: Snapshot, table: str) -> str:
    """Return SQL for the bytes of a row. They are found without reading long texts."""
    lengths = (f"coalesce(octet_length({column}), 0)" for column in _columns(moment, table))
    return " + ".join(["CAST(0 AS bigint)", *lengths])


def sizes_of(moment: Snapshot) -> Sizes:
    """Return how many rows each table has, and how many bytes are in them."""
    found = {}
    for table in TABLES:
        [(rows, size)] = moment.query(f"SELECT count(*), sum({_size(moment, table)}) FROM {table} AS t")
        found[table] = int(rows), int(size or 0)
    return found


def strays(moment: Snapshot) -> list[str]:
    """Return which rows belong to a run that is not there."""
    found = []
    for table in ("intel_items", "telemetry"):
        key = TABLES[table][0]
        has_none = "NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = t.run_id)"
        rows = moment.query(f"SELECT {key}, run_id FROM {table} AS t WHERE {has_none} LIMIT {MOST_NAMED + 1}")
        found += [f"{table} {excerpt(str(row))}: there is no run {excerpt(str(run))}" for row, run in rows]
    return found


def batches(moment: Snapshot, table: str, after: int | None, faults: list[str] | None = None) -> Iterator[Batch]:
    """Yield the rows of a table, in the order of recording, those of telemetry in that of their runs.

    Rows that cannot be read are told to `faults`, and else an error.
    """
    order = f"t.{moment.ORDER}"
    of = f"{table} AS t"
    if table == "telemetry":
        order, of = f"r.{moment.ORDER}", "runs AS r JOIN telemetry AS t ON t.run_id = r.run_id"
    columns = ", ".join(_columns(moment, table))
    while True:
        behind = "" if after is None else f" WHERE {order} > {after}"
        ends = moment.query(
            f"SELECT {order}, {_size(moment, table)} FROM {of}{behind} ORDER BY {order} LIMIT {MOST_ROWS}"
        )
        if not ends:
            return
        size, count = int(ends[0][1]), 1
        while count < len(ends) and size + int(ends[count][1]) <= MOST_BYTES:
            size, count = size + int(ends[count][1]), count + 1
        first, last = ends[0][0], ends[count - 1][0]
        sql = f"SELECT {columns} FROM {of} WHERE {order} >= {{}} AND {order} <= {{}} ORDER BY {order}"
        try:
            rows = moment.query(sql.format(first, last))
        except StateStoreError:
            if faults is None:
                raise
            rows = []
            for position, _ in ends[:count]:
                rows += _readable(moment, sql.format(position, position), f"{table}, {order[2:]} {position}", faults)
        rows = [row if set(map(type, row)) <= _TEXTS else _as_text(table, row, faults) for row in rows]
        yield Batch(rows, size, last)
        after = last


_TEXTS = {str, type(None)}


def _readable(moment: Snapshot, sql: str, what: str, faults: list[str]) -> list[Row]:
    try:
        return moment.query(sql)
    except StateStoreError as error:
        faults.append(f"{what}: {error}")
        return []


def _as_text(table: str, row: Row, faults: list[str] | None) -> Row:
    """Return a row with JSON that another program has bound as bytes as the text that it is read as."""
    cells = list(row)
    for place, (name, cell) in enumerate(zip(TABLES[table], row, strict=True)):
        if isinstance(cell, str | None):
            continue
        try:
            if not (isinstance(cell, bytes) and name.endswith("_json")):
                raise ValueError
            cells[place] = cell.decode("utf-8-sig")
        except ValueError:
            fault = f"{table} {excerpt(str(row[0]))}: {name} is no text; check() finds all such rows"
            if faults is None:
                raise CorruptDatabaseError(f"copy_store: {fault}") from None
            faults.append(fault)
            cells[place] = ""
    return tuple(cells)
