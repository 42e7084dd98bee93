# ruff: noqa: PT012 - what a block does before it fails is the point
"""StateStore.delete_run: a run with all that belongs to it, or nothing."""

from __future__ import annotations

import pytest
from orchestrator.state_store import (
    Deleted,
    InvalidTypeError,
    ReadOnlyError,
    RunActiveError,
    RunNotFoundError,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, everything
from tests.helpers import Boom, item_ids, make_item


def fill(store: StateStore) -> None:
    """Write two runs: `run-1` goes on, `run-2` is completed."""
    store.start_run("run-2", "daily", {})
    for run_id in ("run-1", "run-2"):
        store.upsert_intel_items_batch(make_item(f"{run_id}-{index}", run_id) for index in range(3))
        store.write_telemetry(run_id, {"a": 1})
    store.finish_run("run-2", "completed")


def test_a_run_goes_with_its_items_and_telemetry_and_nothing_else(store: StateStore) -> None:
    fill(store)
    assert store.delete_run("run-2") == Deleted(runs=1, intel_items=3, telemetry=1)
    assert item_ids(store) == ["run-1-0", "run-1-1", "run-1-2"]
    assert [len(rows) for rows in everything(store)] == [1, 3, 1]
    assert_sound(store)
    store.start_run("run-2", "daily", {})
    assert item_ids(store, "run-2") == []


def test_a_running_run_is_deleted_by_force_only(store: StateStore) -> None:
    fill(store)
    before = everything(store)
    with pytest.raises(RunActiveError, match=r"delete_run \"run-1\".*force=True"):
        store.delete_run("run-1")
    assert everything(store) == before
    assert store.delete_run("run-1", force=True) == Deleted(1, 3, 1)


def test_a_run_that_is_not_there_is_an_error(store: StateStore) -> None:
    with pytest.raises(RunNotFoundError, match=r'delete_run "run-9"'):
        store.delete_run("run-9", force=True)


def test_a_transaction_that_fails_brings_it_back(store: StateStore) -> None:
    fill(store)
    before = everything(store)
    with pytest.raises(Boom), store.transaction():
        store.delete_run("run-2")
        assert item_ids(store, "run-2") == []
        raise Boom
    assert everything(store) == before
    with store.transaction():
        store.delete_run("run-2")
        with pytest.raises(RunNotFoundError):
            store.upsert_intel_item(make_item("late", "run-2"))
    assert store.count_runs() == 1


def test_what_belongs_to_a_run_being_pruned_is_not_there(lasting: Engine) -> None:
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
        fill(store)
    lasting.edit("runs", {"run_id": "run-2"}, pruned_at="2026-01-01T00:00:00+00:00")
    tables = ("runs", "intel_items", "telemetry")
    before = [lasting.rows(each) for each in tables]
    with lasting.open() as store, pytest.raises(RunNotFoundError):
        store.delete_run("run-2", force=True)
    assert [lasting.rows(each) for each in tables] == before


def test_read_only_stores_and_wrong_types_are_refused(begun: Engine) -> None:
    with begun.open() as store:
        with pytest.raises(InvalidTypeError, match="run_id"):
            store.delete_run(1)  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match="force"):
            store.delete_run("run-1", force=1)  # type: ignore[arg-type]
    with begun.open(read_only=True) as store, pytest.raises(ReadOnlyError, match="delete_run"):
        store.delete_run("run-1", force=True)
