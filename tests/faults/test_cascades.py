"""What comes again is updated in its place; INSERT OR REPLACE would delete it first, and by cascade its kin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import RunExistsError, StateStore

from tests import predecessor
from tests.helpers import assert_sound, make_item, plain_sqlite, table

CASCADING = [
    statement.replace("REFERENCES runs (run_id)", "REFERENCES runs (run_id) ON DELETE CASCADE")
    for statement in predecessor.TABLES
]
KIN = [
    "CREATE TABLE votes (item_id REFERENCES intel_items (item_id) ON DELETE CASCADE)",
    "CREATE TABLE marks (run_id REFERENCES telemetry (run_id) ON DELETE CASCADE)",
    "INSERT INTO votes VALUES ('a'), ('b')",
    "INSERT INTO marks VALUES ('run-1')",
]
TABLES = ("runs", "intel_items", "telemetry")


@pytest.fixture
def cascading(path: Path) -> Iterator[StateStore]:
    """Open a file whose rows are deleted with what they belong to, and all of whose rows have such kin."""
    plain_sqlite(path, "PRAGMA journal_mode = WAL", *CASCADING)
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch([make_item("a"), make_item("b")])
        store.write_telemetry("run-1", {"n": 1})
    plain_sqlite(path, *KIN)
    with StateStore(path) as store:
        yield store


def places(store: StateStore) -> list[list[tuple[object, ...]]]:
    """Return where the rows are, and what belongs to them."""
    rowids = [store.connection.execute(f"SELECT rowid FROM {name} ORDER BY rowid").fetchall() for name in TABLES]
    return [[tuple(row) for row in rows] for rows in rowids] + [table(store, "votes"), table(store, "marks")]


def test_what_comes_again_keeps_what_belongs_to_it(cascading: StateStore) -> None:
    before = places(cascading)
    assert [len(rows) for rows in before] == [1, 2, 1, 2, 1]
    cascading.upsert_intel_item(make_item("a", title="again"))
    cascading.upsert_intel_items_batch([make_item("b", title="again"), make_item("a", decision="promote")])
    cascading.write_telemetry("run-1", {"n": 2})
    with pytest.raises(RunExistsError):
        cascading.start_run("run-1", "daily", {"other": True})
    cascading.finish_run("run-1", "completed")
    cascading.finish_run("run-1", "failed", "once more")
    assert places(cascading) == before
    assert [item["title"] for item in cascading.list_intel_items_for_run("run-1")] == ["t", "again"]
    assert_sound(cascading)
