"""StateStore.prune: which runs go, what stays of them, and what others see meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from orchestrator.state_store import (
    ClockError,
    Deleted,
    InvalidTypeError,
    InvalidValueError,
    ReadOnlyError,
    RunNotFoundError,
    StateStore,
    StoreClosedError,
    TransactionError,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, everything
from tests.helpers import in_threads, item_ids, make_item

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


def ago(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def run(
    store: StateStore, run_id: str, *, run_type: str = "daily", status: str | None = "completed", items: int = 2
) -> None:
    """Record a run with items and telemetry; one without a status goes on running."""
    store.start_run(run_id, run_type, {})
    store.upsert_intel_items_batch(make_item(f"{run_id}-{index}", run_id) for index in range(items))
    store.write_telemetry(run_id, {})
    if status is not None:
        store.finish_run(run_id, status)


@pytest.fixture
def aged(lasting: Engine) -> Engine:
    """Make a store of runs that are 50, 40 ... 10 days old; `r20` is running, `r30` weekly, `r50` failed."""
    with lasting.open() as store:
        run(store, "r50", status="failed")
        run(store, "r40")
        run(store, "r30", run_type="weekly")
        run(store, "r20", status=None)
        run(store, "r10")
    for days in (50, 40, 30, 20, 10):
        end = {} if days == 20 else {"finished_at": ago(days)}
        lasting.edit("runs", {"run_id": f"r{days}"}, started_at=ago(days), **end)
        lasting.edit("intel_items", {"run_id": f"r{days}"}, created_at=ago(days), updated_at=None)
    return lasting


@pytest.fixture
def old(aged: Engine) -> Iterator[StateStore]:
    with aged.open() as store:
        yield store


def run_ids(store: StateStore) -> list[str]:
    return [run.run_id for run in reversed(store.list_runs())]


BOUNDS: list[tuple[dict[str, Any], list[str]]] = [
    ({"older_than": 35 * DAY}, ["r50", "r40"]),
    ({"older_than": 15 * 86400}, ["r50", "r40", "r30"]),
    ({"older_than": 0}, ["r50", "r40", "r30", "r10"]),
    ({"older_than": 1e11}, []),
    ({"keep_last": 0}, ["r50", "r40", "r30", "r10"]),
    ({"keep_last": 1}, ["r50", "r40", "r30"]),
    ({"keep_last": 3}, ["r50"]),
    ({"keep_last": 4}, []),
    ({"keep_last": 10**18}, []),
    ({"keep_last": 1, "older_than": 35 * DAY}, ["r50", "r40"]),
    ({"keep_last": 3, "older_than": 35 * DAY}, ["r50"]),
    ({"keep_last": 1, "run_type": "daily"}, ["r50", "r40"]),
    ({"keep_last": 0, "run_type": "weekly"}, ["r30"]),
    ({"keep_last": 0, "run_type": "nightly"}, []),
    ({"older_than": 5 * DAY, "status": "failed"}, ["r50"]),
    ({"older_than": 5 * DAY, "status": ["failed", "completed"]}, ["r50", "r40", "r30", "r10"]),
    ({"older_than": 5 * DAY, "status": []}, []),
    ({"older_than": 5 * DAY, "status": "running"}, []),
    ({"keep_last": 1, "run_type": "daily", "status": ("completed",)}, ["r40"]),
]


@pytest.mark.parametrize(("bounds", "gone"), BOUNDS, ids=[str(bounds) for bounds, _ in BOUNDS])
def test_bounds_and_filters_choose_the_runs(old: StateStore, bounds: dict[str, Any], gone: list[str]) -> None:
    expected = Deleted(runs=len(gone), intel_items=2 * len(gone), telemetry=len(gone))
    before = everything(old)
    assert old.prune(**bounds, dry_run=True) == expected
    assert everything(old) == before
    assert old.prune(**bounds) == expected
    assert run_ids(old) == [name for name in ("r50", "r40", "r30", "r20", "r10") if name not in gone]
    assert_sound(old)
    assert old.prune(**bounds) == Deleted(0, 0, 0)


def test_a_run_without_an_end_is_as_old_as_its_start(aged: Engine) -> None:
    aged.edit("runs", finished_at=ago(1))
    with aged.open() as store:
        assert store.prune(older_than=5 * DAY).runs == 0
    aged.edit("runs", finished_at=None)
    with aged.open() as store:
        assert store.prune(older_than=5 * DAY).runs == 4


@pytest.mark.parametrize("bounds", [{"older_than": 35 * DAY}, {"keep_last": 2}, {"keep_last": 2, "older_than": DAY}])
def test_an_item_that_came_again_keeps_its_run_unless_told_otherwise(aged: Engine, bounds: dict[str, Any]) -> None:
    with aged.open() as store:
        store.upsert_intel_item(make_item("r40-1", "r10", title="seen again"))
        assert store.prune(**bounds, dry_run=True).runs == 1
        assert store.prune(**bounds).runs == 1
        assert run_ids(store) == ["r40", "r30", "r20", "r10"]
        assert store.prune(**bounds, keep_seen=False) == Deleted(1, 2, 1)


def test_an_item_that_came_again_long_ago_keeps_nothing(aged: Engine) -> None:
    with aged.open() as store:
        store.upsert_intel_item(make_item("r40-1", "r10", title="seen again"))
    aged.edit("intel_items", {"item_id": "r40-1"}, updated_at=ago(36))
    with aged.open() as store:
        assert store.prune(keep_last=2, older_than=37 * DAY).runs == 1, "the earlier of both counts"
        assert store.prune(older_than=35 * DAY).runs == 1


def test_one_bound_at_least_and_no_nonsense(store: StateStore) -> None:
    with pytest.raises(InvalidValueError, match=r"prune: older_than or keep_last"):
        store.prune(status="completed")
    for bounds in ({"older_than": -1}, {"older_than": float("nan")}, {"keep_last": -1}, {"keep_last": 2**80}):
        with pytest.raises(InvalidValueError, match=f"prune: {next(iter(bounds))}"):
            store.prune(**bounds)
    for wrong in (
        {"older_than": "1"},
        {"keep_last": 1.0},
        {"keep_last": True},
        {"keep_last": 1, "run_type": 1},
        {"keep_last": 1, "status": 1},
        {"keep_last": 1, "status": [1]},
        {"keep_last": 1, "dry_run": 1},
        {"keep_last": 1, "keep_seen": None},
    ):
        with pytest.raises(InvalidTypeError, match=f"prune: {list(wrong)[-1]}"):
            store.prune(**wrong)


def test_inside_a_transaction_it_is_refused(old: StateStore) -> None:
    with old.transaction():
        for dry_run in (True, False):
            with pytest.raises(TransactionError, match=r"prune.*leave the transaction first"):
                old.prune(keep_last=0, dry_run=dry_run)
    assert old.prune(keep_last=0).runs == 4


def test_read_only_stores_can_count_only(aged: Engine) -> None:
    with aged.open(read_only=True) as store:
        assert store.prune(keep_last=1, dry_run=True) == Deleted(3, 6, 3)
        with pytest.raises(ReadOnlyError, match="prune"):
            store.prune(keep_last=1)


def test_many_items_go_with_their_run(engine: Engine) -> None:
    with engine.open() as store:
        run(store, "first", items=3000)
        run(store, "second")
        assert store.prune(keep_last=1) == Deleted(1, 3000, 1)
        assert_sound(store)


@pytest.fixture
def half(aged: Engine) -> Iterator[StateStore]:
    """Return a store on what a killed prune has left: `r40` with one of its items, and no telemetry."""
    aged.edit("runs", {"run_id": "r40"}, pruned_at=ago(0))
    aged.remove("intel_items", {"item_id": "r40-0"})
    aged.remove("telemetry", {"run_id": "r40"})
    with aged.open() as store:
        yield store


def test_what_a_killed_prune_has_left_is_deleted_and_counted_by_the_next(half: StateStore) -> None:
    assert half.prune(older_than=1000 * DAY, dry_run=True) == Deleted(1, 1, 0)
    assert half.prune(older_than=1000 * DAY) == Deleted(1, 1, 0)
    assert run_ids(half) == ["r50", "r30", "r20", "r10"]
    assert_sound(half)


def test_a_run_being_pruned_is_not_there(half: StateStore) -> None:
    assert half.list_intel_items_for_run("r40") == []
    writes: list[Callable[[], object]] = [
        lambda: half.finish_run("r40", "failed"),
        lambda: half.write_telemetry("r40", {}),
        lambda: half.upsert_intel_item(make_item("new", "r40")),
        lambda: half.upsert_intel_items_batch([make_item("new", "r40")] * 2),
    ]
    for write in writes:
        with pytest.raises(RunNotFoundError, match="r40"):
            write()
    assert half.stats().runs == 4
    assert half.stats().runs_by_status == {"completed": 2, "failed": 1, "running": 1}
    assert (half.stats().intel_items, half.stats().telemetry) == (8, 4)


def test_an_item_of_a_run_being_pruned_that_comes_again_is_new(half: StateStore) -> None:
    half.upsert_intel_item(make_item("r40-1", "r10"))
    half.upsert_intel_items_batch(make_item(name, "r10") for name in ("r40-0", "r40-1", "r50-0"))
    assert half.prune(older_than=1000 * DAY).runs == 1
    items = {item["item_id"]: item for item in half.list_intel_items_for_run("r10")}
    assert set(items) == {"r10-0", "r10-1", "r40-0", "r40-1"}
    assert items["r40-1"]["created_at"] > NOW.isoformat()
    assert item_ids(half, "r50") == ["r50-0", "r50-1"]


def test_an_item_that_names_a_run_that_is_not_there_leaves_the_old_one(half: StateStore) -> None:
    before = everything(half)
    with pytest.raises(RunNotFoundError):
        half.upsert_intel_item(make_item("r40-1", "nowhere"))
    assert everything(half) == before


def test_a_run_can_start_again_while_its_old_self_is_pruned(half: StateStore) -> None:
    half.start_run("r40", "daily", {"again": True})
    assert half.list_intel_items_for_run("r40") == []
    half.upsert_intel_item(make_item("r40-1", "r40"))
    assert half.prune(older_than=1000 * DAY) == Deleted(0, 0, 0)
    assert item_ids(half, "r40") == ["r40-1"]
    assert_sound(half)


def test_prunes_at_the_same_time_share_the_work(lasting: Engine) -> None:
    with lasting.open(**lasting.quick) as store, lasting.open(**lasting.quick) as other:
        for index in range(40):
            run(store, f"run-{index}", items=100)
        parts = in_threads([partial(each.prune, keep_last=10) for each in (store, store, other)])
        assert sum(part.runs for part in parts) == 30
        assert sum(part.intel_items for part in parts) == 3000
        assert sum(part.telemetry for part in parts) == 30
        assert len(run_ids(store)) == 10
        assert_sound(store)


def test_closing_the_store_ends_it_and_the_next_prune_goes_on(lasting: Engine) -> None:
    store = lasting.open(**lasting.quick)
    for index in range(20):
        run(store, f"run-{index}", items=500)
    ended: list[str] = []

    def prune() -> None:
        try:
            store.prune(keep_last=0)
        except StoreClosedError as error:
            ended.append(str(error))

    pruning = threading.Thread(target=prune)
    pruning.start()
    store.close()
    pruning.join()
    assert ended[0].startswith("prune: ")
    with lasting.open() as store:
        assert_sound(store)
        store.prune(keep_last=0)
        assert everything(store) == [[], [], []]


def test_the_runs_that_were_recorded_last_are_kept_whatever_the_clock_said(aged: Engine) -> None:
    """`r10` was recorded last, by a clock that was set back, and `r50` by one that was ahead."""
    aged.edit("runs", {"run_id": "r10"}, started_at=ago(60), finished_at=ago(60))
    aged.edit("runs", {"run_id": "r50"}, started_at=ago(-4_000), finished_at=ago(-4_000))
    with aged.open() as store:
        assert run_ids(store) == ["r50", "r40", "r30", "r20", "r10"]
        assert store.prune(keep_last=1, run_type="daily", dry_run=True).runs == 2
        store.prune(keep_last=1, run_type="daily")
        assert run_ids(store) == ["r30", "r20", "r10"]


def test_nothing_is_asked_of_the_clock_where_nothing_goes_by_age(aged: Engine) -> None:
    aged.edit("runs", started_at="2001-01-01T00:00:00+00:00", finished_at="2001-01-01T00:00:00+00:00")
    aged.edit("intel_items", created_at="2001-01-01T00:00:00+00:00")
    with aged.open() as store:
        assert store.prune(older_than=1e11).runs == 0
        for dry_run in (True, False):
            with pytest.raises(ClockError, match="days beyond the newest time"):
                store.prune(older_than=DAY, dry_run=dry_run)
        assert len(run_ids(store)) == 5
        assert store.prune(keep_last=3).runs == 1
        assert store.prune(older_than=DAY, trust_clock=True).runs > 0
        with pytest.raises(InvalidTypeError, match="trust_clock"):
            store.prune(older_than=DAY, trust_clock=1)  # type: ignore[arg-type]
