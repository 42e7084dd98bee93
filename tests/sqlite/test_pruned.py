"""A run that is being pruned is not there, whoever asks: each public call gives what it gives where the run never was.

Guards against a query that forgets its condition (`src/sqlite/tables/pruned.rs`): a call that is new fails here first.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import IntelItemNotFoundError, RunNotFoundError, StateStore

from tests.helpers import make_item, plain_sqlite

FILTERS: list[dict[str, Any]] = [
    {},
    {"run_id": "gone"},
    {"item_type": "note"},
    {"undecided": True},
    {"item_type": "note", "decision": "watch"},
    {"since": "2000-01-01T00:00:00Z"},
    {"where": {"scores_json.total": (">", 0)}},
]
RUN_FILTERS: list[dict[str, Any]] = [
    {},
    {"status": "failed"},
    {"run_type": "daily", "since": "2000-01-01T00:00:00Z"},
    {"run_id_prefix": "g"},
]

BY: list[Any] = ["decision", "item_type", "run_id"]
RUNS_BY: list[Any] = ["status", "run_type"]

READS: dict[str, Callable[[StateStore], Any]] = {
    "get_run": lambda store: store.get_run("gone"),
    "list_runs": lambda store: [list(store.list_runs(**each)) for each in RUN_FILTERS],
    "count_runs": lambda store: [store.count_runs(**each) for each in RUN_FILTERS],
    "get_intel_item": lambda store: [store.get_intel_item(each) for each in ("old-1", "old-2", "new-1")],
    "list_intel_items_for_run": lambda store: store.list_intel_items_for_run("gone"),
    "list_intel_items": lambda store: [list(store.list_intel_items(**each)) for each in FILTERS],
    "iter_intel_items": lambda store: [list(store.iter_intel_items(**each)) for each in FILTERS],
    "count_intel_items": lambda store: [store.count_intel_items(**each) for each in FILTERS],
    "count_intel_items_by": lambda store: [store.count_intel_items_by(by, **each) for by in BY for each in FILTERS],
    "count_runs_by": lambda store: [store.count_runs_by(by, **each) for by in RUNS_BY for each in RUN_FILTERS],
    "delete_intel_item": lambda store: [store.delete_intel_item(each, force=True) for each in ("old-1", "new-1")],
    "get_telemetry": lambda store: store.get_telemetry("gone"),
    "list_telemetry": lambda store: store.list_telemetry(["gone", "kept"]),
    "stats": lambda store: [getattr(store.stats(), name) for name in ("runs_by_status", "intel_items", "telemetry")],
    "check": lambda store: store.check(),
    "recover_stale_runs": lambda store: store.recover_stale_runs(0),
}
WRITES: dict[str, Callable[[StateStore], Any]] = {
    "finish_run": lambda store: store.finish_run("gone", "completed", force=True),
    "heartbeat": lambda store: store.heartbeat("gone"),
    "reopen_run": lambda store: store.reopen_run("gone"),
    "write_telemetry": lambda store: store.write_telemetry("gone", {}, force=True),
    "merge_telemetry": lambda store: store.merge_telemetry("gone", {}, force=True),
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item("new", "gone")),
    "upsert_intel_items_batch": lambda store: store.upsert_intel_items_batch([make_item("new", "gone")]),
    "decide": lambda store: store.decide("old-1", "watch"),
    "decide_batch": lambda store: store.decide_batch({"old-1": "watch"}),
    "delete_run": lambda store: store.delete_run("gone", force=True),
}
ANEW = {"start_run", "run"}
"""What takes the id of a run that is being pruned, after deleting what is left of it."""
OF_NO_RUN = {"backup", "checkpoint", "close", "connection", "db_path", "prune", "transaction", "vacuum"}
"""What copies or deletes the rows as they are, or is about no rows; `connection` shows a file as it is."""


@pytest.fixture
def stores(path: Path) -> Iterator[tuple[StateStore, StateStore]]:
    """Yield a store of which one run is being pruned, and the same where that run never was."""
    with StateStore(path) as store:
        for run_id, prefix in (("gone", "old"), ("kept", "new")):
            store.start_run(run_id, "daily", {})
            items = [make_item(f"{prefix}-{index}", run_id, scores_json={"total": index}) for index in range(1, 4)]
            store.upsert_intel_items_batch(items)
            store.decide(f"{prefix}-2", "watch")
            store.write_telemetry(run_id, {"of": run_id})
            store.finish_run(run_id, "failed")
    without = path.with_name("without.db")
    shutil.copy(path, without)
    plain_sqlite(
        path,
        "UPDATE runs SET pruned_at = 'now', status = 'running', started_at = '2001' WHERE run_id = 'gone'",
        "UPDATE runs SET heartbeat_at = NULL WHERE run_id = 'gone'",
        "UPDATE intel_items SET created_at = '2001', claims_json = 'no JSON' WHERE run_id = 'gone'",
        "UPDATE telemetry SET created_at = '2001', telemetry_json = 'no JSON' WHERE run_id = 'gone'",
    )
    plain_sqlite(
        without, *(f"DELETE FROM {table} WHERE run_id = 'gone'" for table in ("intel_items", "telemetry", "runs"))
    )
    with StateStore(path) as store, StateStore(without) as twin:
        yield store, twin


def test_every_public_call_is_looked_at() -> None:
    public = {name for name in dir(StateStore) if not name.startswith("_")}
    assert public == READS.keys() | WRITES.keys() | ANEW | OF_NO_RUN


@pytest.mark.parametrize("call", READS)
def test_no_read_shows_it(stores: tuple[StateStore, StateStore], call: str) -> None:
    store, twin = stores
    assert READS[call](store) == READS[call](twin)


@pytest.mark.parametrize("call", WRITES)
def test_no_write_takes_it(stores: tuple[StateStore, StateStore], call: str) -> None:
    for store in stores:
        with pytest.raises((RunNotFoundError, IntelItemNotFoundError)):
            WRITES[call](store)
        # In a transaction of the caller's own too.
        with store.transaction(), pytest.raises((RunNotFoundError, IntelItemNotFoundError)):
            WRITES[call](store)


def test_start_again_begins_a_new_run(stores: tuple[StateStore, StateStore]) -> None:
    for store in stores:
        run = store.start_run("gone", "weekly", {"new": True}, if_exists="return")
        assert (run.status, run.settings_snapshot_json) == ("running", {"new": True})
        assert store.list_intel_items_for_run("gone") == []
        assert store.get_telemetry("gone") is None


def test_its_id_and_its_items_can_come_again(stores: tuple[StateStore, StateStore]) -> None:
    for store in stores:
        store.upsert_intel_item(make_item("old-2", "kept"))
        item = store.get_intel_item("old-2")
        assert item is not None
        assert item["decision"] is None
        store.start_run("gone", "daily", {})
        assert store.list_intel_items_for_run("gone") == []
        assert store.get_telemetry("gone") is None
        assert store.start_run("gone", "daily", {}, if_exists="return").status == "running"
        with store.run("another", "daily", {}):
            pass
        assert store.stats().runs == 3
