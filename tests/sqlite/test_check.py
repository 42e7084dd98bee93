"""StateStore.check: finds what is wrong, names it, and finds nothing where nothing is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from orchestrator.state_store import (
    CorruptDatabaseError,
    Finding,
    InvalidJSONError,
    InvalidTypeError,
    InvalidValueError,
    RunFinishedError,
    StateStore,
    StoreClosedError,
)

from tests import predecessor
from tests.helpers import make_item, plain_sqlite
from tests.programs.deep import nested

OLD = (datetime.now(UTC) - timedelta(hours=2)).isoformat()


@pytest.fixture
def damaged(path: Path) -> Callable[..., list[Finding]]:
    """Return what writes a store, lets another program change its file, and checks it."""

    def check(*statements: str, stale_after: float = 3600) -> list[Finding]:
        with StateStore(path) as store:
            store.start_run("run-1", "daily", {})
            store.start_run("run-2", "daily", {"a": [1, 2.5, "x"]})
            store.upsert_intel_items_batch(make_item(f"{index:03}", claims_json=[index]) for index in range(700))
            store.write_telemetry("run-1", {"a": 1})
            store.finish_run("run-2", "completed")
        plain_sqlite(path, "PRAGMA foreign_keys = OFF", *statements)
        with StateStore(path, read_only=True) as store:
            return store.check(stale_after=stale_after)

    return check


def kinds(findings: list[Finding]) -> list[tuple[str, str | None, str | None]]:
    return [(each.kind, each.table, each.id) for each in findings]


def test_a_sound_store_has_no_findings(damaged: Callable[..., list[Finding]]) -> None:
    assert damaged() == []


def test_rows_of_a_run_that_is_not_there_are_found(damaged: Callable[..., list[Finding]]) -> None:
    found = damaged("DELETE FROM runs WHERE run_id = 'run-1'", "DELETE FROM intel_items WHERE item_id > '001'")
    assert kinds(found) == [
        ("foreign_key", "intel_items", "000"),
        ("foreign_key", "intel_items", "001"),
        ("foreign_key", "telemetry", "run-1"),
    ]
    assert found[0].message == 'it belongs to the run "run-1", which does not exist'


BAD_JSON = [
    "'{'",
    "''",
    "'[1] 2'",
    "'[1,]'",
    "'{\"a\" 1}'",
    "'\"\\x\"'",
    "'nan'",
    "'01'",
    "x'5bff5d'",
    "CAST(x'22ff22' AS TEXT)",
    "'\"a' || char(10) || 'b\"'",
    "printf('%.*c', 5000, '9')",
    "printf('%.*c', 3000, '[')",
]


@pytest.mark.parametrize("text", BAD_JSON)
def test_what_is_no_json_is_found(damaged: Callable[..., list[Finding]], text: str) -> None:
    found = damaged(
        f"UPDATE intel_items SET scores_json = {text} WHERE item_id = '345'",
        f"UPDATE runs SET settings_snapshot_json = {text} WHERE run_id = 'run-2'",
        f"UPDATE telemetry SET telemetry_json = {text}",
    )
    assert kinds(found) == [("json", "runs", "run-2"), ("json", "intel_items", "345"), ("json", "telemetry", "run-1")]
    assert found[1].message.startswith("scores_json is not JSON (")
    assert all(len(each.message.splitlines()) == 1 for each in found)


READ = {
    "runs": ("run_id", "run_type", "started_at", "status", "finished_at", "notes", "heartbeat_at"),
    "intel_items": ("item_id", "item_type", "title", "summary", "decision", "decision_reason", "created_at"),
}
"""The columns of text that reads decode."""


@pytest.mark.parametrize("value", ["CAST(x'e29c' AS TEXT)", "x'e29c'"])
@pytest.mark.parametrize(("table", "column"), [(table, column) for table in READ for column in READ[table]])
def test_what_a_list_refuses_is_found(
    damaged: Callable[..., list[Finding]], path: Path, table: str, column: str, value: str
) -> None:
    """One bad cell fails the list that it is in: check has to say which one it is."""
    damaged(f"UPDATE {table} SET {column} = {value} WHERE rowid = 2")
    with StateStore(path, read_only=True) as store:
        found = [each for each in store.check() if each.kind == "text"]
        with pytest.raises(CorruptDatabaseError, match=rf"{column}.* all such rows of {table}; .*salvage\(\)"):
            store.list_runs() if table == "runs" else store.list_intel_items()
    key = {"runs": "run-2", "intel_items": "001"}[table]
    assert [(each.table, each.id) for each in found] == [(table, None if column.endswith("_id") else key)]
    assert found[0].message.startswith(f"{column} is not ")
    assert found[0].message.endswith("at rowid 2")


def test_bad_status_keeps_no_run_from_being_deleted(damaged: Callable[..., list[Finding]], path: Path) -> None:
    damaged("UPDATE runs SET status = CAST(x'e29c' AS TEXT) WHERE run_id = 'run-1'")
    with StateStore(path) as store:
        assert store.delete_run("run-1").runs == 1
        assert store.check() == []


@pytest.mark.parametrize("value", ["CAST(x'e29c' AS TEXT)", "x'e29c'"])
def test_what_no_list_shows_hinders_none(damaged: Callable[..., list[Finding]], path: Path, value: str) -> None:
    damaged(f"UPDATE store_identity SET store_id = {value}", f"UPDATE runs SET recovered_at = {value} WHERE rowid = 1")
    with StateStore(path) as store:
        page = store.list_intel_items(limit=2)
        assert len(store.list_intel_items(limit=2, cursor=page.next_cursor)) == 2
        assert (len(store.list_runs()), store.count_intel_items()) == (2, 700)
        with pytest.raises(RunFinishedError, match=r'"run-1" was recovered at .*its status is "running"'):
            store.upsert_intel_item(make_item("more"))


def test_count_names_the_column_that_is_bad(damaged: Callable[..., list[Finding]], path: Path) -> None:
    bad = "CAST(x'e29c' AS TEXT)"
    damaged(
        f"UPDATE runs SET status = {bad} WHERE rowid = 1", f"UPDATE intel_items SET decision = {bad} WHERE rowid = 1"
    )
    with StateStore(path, read_only=True) as store:
        with pytest.raises(CorruptDatabaseError, match=r"^count_runs_by: status: not UTF-8 .*check\(\) finds"):
            store.count_runs_by("status")
        with pytest.raises(CorruptDatabaseError, match=r"^count_intel_items_by: decision: not UTF-8 .*check\(\) finds"):
            store.count_intel_items_by("decision")
        with pytest.raises(CorruptDatabaseError, match=r"^stats: the status of a run is not UTF-8"):
            store.stats()


def test_null_where_none_may_be_is_found(damaged: Callable[..., list[Finding]], path: Path) -> None:
    found = damaged(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, 'title TEXT NOT NULL', 'title TEXT') WHERE name = 'intel_items'",
    )
    assert found == []
    plain_sqlite(path, "UPDATE intel_items SET title = NULL WHERE item_id = '007'")
    with StateStore(path, read_only=True) as store:
        assert kinds(store.check()) == [("text", "intel_items", "007")]


def test_list_goes_on_without_the_column_or_the_row_that_is_bad(
    damaged: Callable[..., list[Finding]], path: Path
) -> None:
    damaged("UPDATE intel_items SET title = CAST(x'e29c' AS TEXT), scores_json = '{' WHERE item_id = '345'")
    with StateStore(path, read_only=True) as store:
        with pytest.raises(
            CorruptDatabaseError, match=r'item "345", title: not UTF-8 text.* leave the column out by fields='
        ):
            list(store.iter_intel_items())
        with pytest.raises(InvalidJSONError, match='item "345", scores_json: not JSON'):
            list(store.iter_intel_items(fields=["scores_json"]))
        assert len(list(store.iter_intel_items(fields=["item_id", "summary"]))) == 700


@pytest.mark.parametrize("text", ["NaN", "-Infinity", '"\\ud800"', "1e999", " [1] ", "9" * 4000, '{"a":{},"a":[]}'])
def test_what_the_json_module_reads_is_json(damaged: Callable[..., list[Finding]], text: str) -> None:
    assert damaged(f"UPDATE intel_items SET scores_json = '{text}'") == []


def test_deep_json_is_json(store: StateStore) -> None:
    store.write_telemetry("run-1", nested(800, "list"))
    assert store.check() == []


@pytest.mark.parametrize("sign", ["started_at", "heartbeat_at", "created_at", "telemetry", "seen again", "none"])
def test_runs_without_a_sign_of_life_are_found(damaged: Callable[..., list[Finding]], sign: str) -> None:
    now = datetime.now(UTC).isoformat()

    def at(column: str) -> str:
        return now if column == sign else OLD

    statements = [
        f"UPDATE runs SET started_at = '{at('started_at')}', heartbeat_at = '{at('heartbeat_at')}'",
        f"UPDATE intel_items SET created_at = '{OLD}'",
        f"UPDATE intel_items SET created_at = '{at('created_at')}' WHERE item_id = '000'",
        f"UPDATE intel_items SET updated_at = '{at('seen again')}' WHERE item_id = '699'",
        f"UPDATE telemetry SET created_at = '{at('telemetry')}'",
    ]
    found = damaged(*statements, "UPDATE runs SET status = 'running' WHERE run_id = 'run-1'")
    assert kinds(found) == ([("stale_run", "runs", "run-1")] if sign in ("seen again", "none") else [])
    if found:
        assert OLD in found[0].message


def test_how_long_a_run_may_be_silent(store: StateStore) -> None:
    assert kinds(store.check(stale_after=0)) == [("stale_run", "runs", "run-1")]
    assert store.check(stale_after=timedelta(seconds=60)) == []
    with pytest.raises(InvalidValueError, match="check: stale_after"):
        store.check(stale_after=-1)
    with pytest.raises(InvalidTypeError, match="check: stale_after"):
        store.check(stale_after="1")  # type: ignore[arg-type]


def test_a_damaged_file_is_a_finding(damaged: Callable[..., list[Finding]], path: Path) -> None:
    damaged()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with StateStore(path, read_only=True) as store:
        found = store.check()
    assert found
    assert {each.kind for each in found} == {"integrity"}


def test_an_index_that_lacks_a_row_is_a_finding(damaged: Callable[..., list[Finding]]) -> None:
    found = damaged(
        "PRAGMA writable_schema = ON",
        "CREATE INDEX lacking ON runs(notes)",
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX lacking ON runs(run_type)' WHERE name = 'lacking'",
    )
    assert found
    assert {each.kind for each in found} == {"integrity"}


def test_what_a_prune_has_left_is_no_finding(damaged: Callable[..., list[Finding]]) -> None:
    assert (
        damaged(
            f"UPDATE runs SET pruned_at = '{OLD}', started_at = '{OLD}' WHERE run_id = 'run-1'",
            "UPDATE intel_items SET scores_json = '{'",
        )
        == []
    )


def test_in_a_transaction_in_memory_and_of_the_predecessor(store: StateStore, tmp_path: Path) -> None:
    with store.transaction():
        store.start_run("run-2", "daily", {})
        assert len(store.check(stale_after=0)) == 2
    with StateStore(":memory:") as memory:
        memory.start_run("run-1", "daily", {})
        assert len(memory.check(stale_after=0)) == 1
    old = tmp_path / "old.db"
    plain_sqlite(old, *predecessor.file(indexes=False, journal="DELETE"))
    with StateStore(old, read_only=True) as other:
        assert {each.kind for each in other.check()} <= {"stale_run"}


def test_closing_the_store_ends_it(path: Path) -> None:
    store = StateStore(path, synchronous="NORMAL")
    store.start_run("run-1", "daily", {})
    store.upsert_intel_items_batch(make_item(f"{index}", summary="s" * 500) for index in range(20_000))
    ended = []

    def check() -> None:
        try:
            while True:
                store.check()
        except StoreClosedError as error:
            ended.append(str(error))

    checking = threading.Thread(target=check)
    checking.start()
    store.close()
    checking.join()
    assert ended[0].startswith("check: ")
