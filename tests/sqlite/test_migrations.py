"""The predecessor's files, and programs that use a store's file by plain `sqlite3` in turn with the store."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from orchestrator.state_store import SchemaTooNewError, StateStore

from tests import predecessor
from tests.helpers import ITEM_KEYS, assert_sound, folder_bytes, item_ids, make_item, plain_sqlite, table, value

COLUMNS = {
    "runs": ["run_id", "run_type", "started_at", "finished_at", "status", "settings_snapshot_json", "notes"],
    "intel_items": [
        *("item_id", "run_id", "item_type", "title", "summary", "claims_json", "evidence_json", "scores_json"),
        *("risk_flags_json", "explainability_json", "decision", "decision_reason", "created_at"),
    ],
    "telemetry": ["run_id", "telemetry_json", "created_at"],
}
NULLABLE = {"finished_at", "notes", "decision", "decision_reason"}


@pytest.fixture(params=[(False, "DELETE"), (True, "DELETE"), (False, "WAL"), (True, "WAL")], ids=str)
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    """Make a file of the predecessor's."""
    indexes, journal = request.param
    plain_sqlite(path, *predecessor.file(indexes=indexes, journal=journal))
    return path


@pytest.fixture(params=["new", "migrated"])
def any_store(request: pytest.FixtureRequest, path: Path) -> Path:
    """Make a file of ours, new or from the predecessor's."""
    if request.param == "migrated":
        plain_sqlite(path, *predecessor.file(indexes=False, journal="DELETE"))
    StateStore(path).close()
    return path


def test_predecessors_file_opens_and_lists_in_order(old: Path) -> None:
    with StateStore(old) as store:
        items = store.list_intel_items_for_run("old-run")
        assert [item["item_id"] for item in items] == predecessor.ITEMS_IN_ORDER
        for item in items:
            assert set(item) == ITEM_KEYS
            assert item["created_at"] == predecessor.TIMES[item["item_id"]]
            assert item["title"] == f"old {item['item_id']}"
            assert (item["claims_json"][0], item["scores_json"]) == ("é", {"impact": 0.5})
            assert math.isnan(item["claims_json"][1])
        assert_sound(store)


def test_predecessors_file_is_updated_and_its_order_kept(old: Path) -> None:
    with StateStore(old) as store:
        store.upsert_intel_item(make_item("twin-b", "old-run", title="new", decision="block"))
        store.upsert_intel_items_batch([make_item("late", "old-run"), make_item("newest", "old-run")])
        store.write_telemetry("old-run", {"n": 5})
        store.finish_run("old-run", "completed", "by the new program")
        store.start_run("new-run", "daily", {})
    with StateStore(old) as store:
        assert item_ids(store, "old-run") == [*predecessor.ITEMS_IN_ORDER, "newest"]
        second = store.list_intel_items_for_run("old-run")[1]
        assert (second["title"], second["decision"]) == ("new", "block")
        assert second["created_at"] == predecessor.TIMES["twin-b"]
        assert value(store, "SELECT started_at FROM runs WHERE run_id = 'old-run'") == predecessor.STARTED_AT
        assert_sound(store)


def test_alternating_with_the_predecessor_loses_nothing(old: Path) -> None:
    """Ours, then plain `sqlite3` with the predecessor's statements, then ours, and so on."""
    for turn in range(3):
        with StateStore(old) as store:
            store.upsert_intel_item(make_item(f"ours-{turn}", "old-run", claims_json=[turn]))
            store.upsert_intel_item(make_item("early", "old-run", title=f"ours {turn}"))
            store.write_telemetry("old-run", {"ours": turn})
        assert plain_sqlite(old, f"SELECT title, claims_json FROM intel_items WHERE item_id = 'ours-{turn}'") == [
            ["t", json.dumps([turn])]
        ]
        assert json.loads(plain_sqlite(old, "SELECT telemetry_json FROM telemetry")[0][0]) == {"ours": turn}
        later = f"2124-03-01T06:00:0{turn}+00:00"
        plain_sqlite(
            old,
            *predecessor.TABLES,
            *predecessor.INDEXES,
            predecessor.start_run(f"theirs-{turn}"),
            predecessor.upsert(f"theirs-{turn}", "old-run", "t", [], later),
            predecessor.upsert("early", "old-run", f"theirs {turn}", [turn], later),
            predecessor.telemetry("old-run", {"theirs": turn}),
            "UPDATE runs SET status = 'partial', finished_at = 'now', notes = 'theirs' WHERE run_id = 'old-run'",
        )
        with StateStore(old) as store:
            items = {item["item_id"]: item for item in store.list_intel_items_for_run("old-run")}
            assert (items["early"]["title"], items["early"]["claims_json"]) == (f"theirs {turn}", [turn])
            assert {f"ours-{turn}", f"theirs-{turn}", *predecessor.TIMES} <= set(items)
            assert json.loads(value(store, "SELECT telemetry_json FROM telemetry")) == {"theirs": turn}
            assert value(store, "SELECT notes FROM runs WHERE run_id = 'old-run'") == "theirs"
            assert_sound(store)


def test_columns_are_the_predecessors_and_new_ones_can_be_left_out(any_store: Path) -> None:
    for name, columns in COLUMNS.items():
        info = plain_sqlite(any_store, f"SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('{name}')")
        assert [row[0] for row in info][: len(columns)] == columns
        for column, type_, not_null, default in info:
            if column in columns:
                assert type_ == "TEXT", column
                assert not_null or column in NULLABLE or column == columns[0], column
            else:
                assert not not_null or default is not None, f"{column} would break the predecessor's INSERT"
    keys = {name: plain_sqlite(any_store, f"SELECT name, pk FROM pragma_table_info('{name}')") for name in COLUMNS}
    assert {name: [column for column, pk in info if pk] for name, info in keys.items()} == {
        name: columns[:1] for name, columns in COLUMNS.items()
    }


def test_new_columns_are_the_documented_ones(any_store: Path) -> None:
    with StateStore(any_store) as store:
        assert value(store, "SELECT count(*) FROM pragma_table_info('intel_items') WHERE name = 'updated_at'") == 1
        assert value(store, "SELECT count(*) FROM pragma_table_info('runs') WHERE name = 'heartbeat_at'") == 1


def test_indexes_and_references_are_there(any_store: Path) -> None:
    indexes = plain_sqlite(any_store, "SELECT name FROM sqlite_master WHERE type = 'index'")
    assert {"idx_intel_items_run_id", "idx_intel_items_created_at"} <= {row[0] for row in indexes}
    for name in ("intel_items", "telemetry"):
        sql = f'SELECT "table", "from", "to" FROM pragma_foreign_key_list(\'{name}\')'
        assert [row[:2] for row in plain_sqlite(any_store, sql)] == [["runs", "run_id"]]


def test_new_file_and_migrated_file_have_one_schema(tmp_path: Path) -> None:
    plain_sqlite(tmp_path / "old.db", *predecessor.file(indexes=False, journal="DELETE"))
    shapes = []
    for name in ("old.db", "new.db"):
        with StateStore(tmp_path / name) as store:
            sql = """SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m, pragma_table_info(m.name) c
                WHERE m.type IN ('table', 'index') AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, c.cid"""
            shapes.append([tuple(row) for row in store.connection.execute(sql)])
            shapes.append([(value(store, "PRAGMA user_version"), value(store, "PRAGMA journal_mode"))])
    assert shapes[:2] == shapes[2:]
    assert shapes[1][0][1] == "wal"


def test_opening_again_changes_no_schema(old: Path) -> None:
    StateStore(old).close()
    sql = "SELECT (SELECT group_concat(sql) FROM sqlite_master), (SELECT schema_version FROM pragma_schema_version)"
    before = plain_sqlite(old, sql)
    for _ in range(3):
        StateStore(old).close()
    assert plain_sqlite(old, sql) == before


def test_predecessors_rows_are_not_rewritten_by_the_migration(old: Path) -> None:
    columns = {name: ", ".join(names) for name, names in COLUMNS.items()}
    queries = [f"SELECT {columns[name]} FROM {name} ORDER BY rowid" for name in COLUMNS]
    before = [plain_sqlite(old, query) for query in queries]
    StateStore(old).close()
    assert [plain_sqlite(old, query) for query in queries] == before


def test_predecessors_file_with_a_newer_version_is_refused_untouched(old: Path) -> None:
    plain_sqlite(old, "PRAGMA user_version = 1000000")
    before = folder_bytes(old.parent)
    with pytest.raises(SchemaTooNewError):
        StateStore(old)
    assert folder_bytes(old.parent) == before


def test_predecessors_file_without_rows_opens(path: Path) -> None:
    plain_sqlite(path, *predecessor.TABLES)
    with StateStore(path) as store:
        assert [table(store, name) for name in COLUMNS] == [[], [], []]
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        assert item_ids(store) == ["item-1"]
