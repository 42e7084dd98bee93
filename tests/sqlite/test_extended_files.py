"""Files of the predecessor, or of ours, that their owners have changed: opened and right, or refused as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import ForeignDatabaseError, StateStore

from tests import predecessor
from tests.helpers import assert_sound, folder_bytes, item_ids, make_item, plain_sqlite, value

ITEMS, RUNS = "intel_items", "runs"
IN_THE_WAY = {
    f"ALTER TABLE {ITEMS} ADD COLUMN updated_at TEXT": "intel_items.updated_at",
    f"ALTER TABLE {ITEMS} ADD COLUMN Updated_At INTEGER NOT NULL DEFAULT 0": "intel_items.updated_at",
    f"ALTER TABLE {RUNS} ADD COLUMN heartbeat_at TEXT": "runs.heartbeat_at",
    f"ALTER TABLE {RUNS} ADD COLUMN pruned_at TEXT DEFAULT 'never'": "runs.pruned_at",
    f"ALTER TABLE {RUNS} ADD COLUMN recovered_at TEXT AS (notes) VIRTUAL": "runs.recovered_at",
    "CREATE TABLE store_identity (name TEXT)": "table store_identity",
    "CREATE TABLE store_identity (store_id TEXT)": "table store_identity",
    "CREATE VIEW store_identity AS SELECT 1 AS store_id": "view store_identity",
    "CREATE TABLE idx_runs_status (name TEXT)": "table idx_runs_status",
    "CREATE VIEW idx_intel_items_updated_at AS SELECT 1": "view idx_intel_items_updated_at",
    "PRAGMA user_version = 2": "user_version is 2, but it has no intel_items.updated_at",
    "PRAGMA user_version = 3": "user_version is 3, but it has no intel_items.updated_at",
}


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
@pytest.mark.parametrize("change", IN_THE_WAY)
def test_what_is_in_the_way_is_named_and_nothing_changed(path: Path, change: str, journal: str) -> None:
    """They were changed to WAL mode and then called damaged, or opened and failed in every read."""
    plain_sqlite(path, *predecessor.file(indexes=False, journal=journal), change)
    before = folder_bytes(path.parent)
    with pytest.raises(ForeignDatabaseError, match=IN_THE_WAY[change]) as refused:
        StateStore(path)
    assert str(refused.value).endswith("it was left as it is")
    assert folder_bytes(path.parent) == before


@pytest.mark.parametrize("change", IN_THE_WAY)
def test_what_is_in_the_way_of_writing_does_not_keep_from_reading(path: Path, change: str) -> None:
    """Two of these files opened and failed in every list."""
    plain_sqlite(path, *predecessor.file(indexes=False, journal="DELETE"), change)
    with StateStore(path, read_only=True) as store:
        assert item_ids(store, "old-run") == predecessor.ITEMS_IN_ORDER
        assert [item["item_id"] for item in store.list_intel_items()] == predecessor.ITEMS_IN_ORDER
        assert [run.run_id for run in store.list_runs()] == ["old-run"]


@pytest.mark.parametrize("table", range(4))
def test_table_without_rowid_is_refused_as_it_is(path: Path, table: int) -> None:
    """The order of all lists is that of the rowid."""
    tables = list(predecessor.TABLES)
    if table == len(tables):
        tables.append("ALTER TABLE intel_items ADD COLUMN rowid TEXT")
    else:
        tables[table] += " WITHOUT ROWID"
    plain_sqlite(path, *tables)
    before = folder_bytes(path.parent)
    with pytest.raises(ForeignDatabaseError, match="WITHOUT ROWID"):
        StateStore(path)
    assert folder_bytes(path.parent) == before


def indexes(path: Path) -> list[str]:
    """Return the names of all indexes that have a statement of their own."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    return [name for [name] in plain_sqlite(path, sql)]


def test_missing_indexes_are_made_again(path: Path) -> None:
    StateStore(path).close()
    before = indexes(path)
    assert len(before) == 9
    plain_sqlite(path, *(f"DROP INDEX {name}" for name in before))
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        assert_sound(store)
    assert indexes(path) == before


def test_restored_dump_that_has_lost_its_version_opens(path: Path) -> None:
    """The shell's .dump leaves user_version out. Its columns were in the way of the migration."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        identity = value(store, "SELECT store_id FROM store_identity")
    plain_sqlite(path, "PRAGMA user_version = 0")
    with StateStore(path, read_only=True) as store:
        assert [item["item_id"] for item in store.list_intel_items()] == ["item-1"]
    with StateStore(path) as store:
        assert value(store, "PRAGMA user_version") == 3
        assert value(store, "SELECT store_id FROM store_identity") == identity
        assert [item["item_id"] for item in store.list_intel_items()] == ["item-1"]
        assert_sound(store)


def test_owners_own_tables_columns_and_first_version_are_no_hindrance(path: Path) -> None:
    plain_sqlite(
        path,
        *predecessor.file(indexes=True, journal="DELETE"),
        "ALTER TABLE intel_items ADD COLUMN mine TEXT",
        "CREATE TABLE labels (item_id TEXT PRIMARY KEY REFERENCES intel_items, updated_at TEXT) WITHOUT ROWID",
        "PRAGMA user_version = 1",
    )
    with StateStore(path) as store:
        assert [item["item_id"] for item in store.list_intel_items()] == predecessor.ITEMS_IN_ORDER
        assert value(store, "SELECT count(*) FROM labels") == 0
