"""Items that come again unchanged: what that says to prune, on every engine alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from orchestrator.state_store import StateStore

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, items
from tests.helpers import make_item

DAY = timedelta(days=1)


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


@pytest.fixture
def aged(lasting: Engine) -> Engine:
    """Make a store of runs that are 40 and 30 days old, with three items each, and of one that goes on."""
    with lasting.open() as store:
        for run_id in ("r40", "r30"):
            store.start_run(run_id, "daily", {})
            store.upsert_intel_items_batch(make_item(f"{run_id}-{number}", run_id) for number in range(3))
            store.finish_run(run_id, "completed")
        store.start_run("new", "daily", {})
    for days in (40, 30):
        lasting.edit("runs", {"run_id": f"r{days}"}, started_at=ago(days), finished_at=ago(days), heartbeat_at=None)
        lasting.edit("intel_items", {"run_id": f"r{days}"}, created_at=ago(days), updated_at=None)
    return lasting


def run_ids(store: StateStore) -> list[str]:
    return sorted(run.run_id for run in store.list_runs())


def one(store: StateStore) -> None:
    store.upsert_intel_item(make_item("r40-1", "new"))


def batch(store: StateStore) -> None:
    store.upsert_intel_items_batch([make_item("fresh", "new"), make_item("r40-1", "new"), make_item("r40-1", "new")])


def inside(store: StateStore) -> None:
    with store.transaction():
        one(store)


def undone(store: StateStore) -> None:
    def block() -> None:
        with store.transaction():
            one(store)
            raise KeyError

    with pytest.raises(KeyError):
        block()


def deleted(store: StateStore) -> None:
    one(store)
    assert store.delete_intel_item("r40-1")


def changed_first(store: StateStore) -> None:
    store.upsert_intel_item(make_item("r40-1", "new", title="other"))
    one(store)


def twice(store: StateStore) -> None:
    one(store)
    one(store)


@pytest.mark.parametrize("come", [one, batch, inside, changed_first, twice])
def test_an_item_that_came_again_unchanged_keeps_its_run(aged: Engine, come: Callable[[StateStore], None]) -> None:
    with aged.open() as store:
        before = {item["item_id"]: item for item in items(store)}
        come(store)
        assert all(before[item["item_id"]] == item for item in items(store) if item["item_id"] != "fresh")
        assert store.prune(older_than=DAY, dry_run=True).runs == 1
        assert store.prune(older_than=DAY).runs == 1
        assert run_ids(store) == ["new", "r40"]
        assert store.prune(older_than=DAY).runs == 0
        assert store.prune(older_than=DAY, keep_seen=False).runs == 1
        assert run_ids(store) == ["new"]
        assert_sound(store)


@pytest.mark.parametrize("come", [undone, deleted])
def test_what_was_undone_or_deleted_keeps_nothing(aged: Engine, come: Callable[[StateStore], None]) -> None:
    with aged.open() as store:
        come(store)
        assert store.prune(older_than=DAY).runs == 2


def test_an_item_that_is_made_anew_was_not_seen_before(aged: Engine) -> None:
    with aged.open() as store:
        one(store)
        store.delete_run("r40")
        store.upsert_intel_item(make_item("r40-1", "r30"))
    aged.edit("intel_items", {"item_id": "r40-1"}, created_at=ago(30))
    with aged.open() as store:
        assert store.prune(older_than=DAY).runs == 1


@pytest.mark.parametrize(("days", "noted"), [(0, False), (-1, True)])
def test_it_is_noted_once_a_minute_and_by_no_time_that_is_ahead(aged: Engine, days: float, noted: bool) -> None:
    aged.edit("intel_items", {"item_id": "r40-1"}, created_at=ago(days))
    with aged.open() as store:
        one(store)
        assert store.prune(older_than=DAY).runs == (1 if noted else 2)
