"""delete_intel_item(): one item goes, and nothing else."""

from __future__ import annotations

import pytest
from orchestrator.state_store import InvalidTypeError, RunFinishedError, StateStore

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, everything
from tests.helpers import Boom, in_thread, in_threads, item_ids, make_item


def test_item_is_gone_with_its_decision_and_others_stay(store: StateStore) -> None:
    store.upsert_intel_items_batch([make_item("a"), make_item("b"), make_item("c")])
    store.decide_batch({"b": ("promote", "why"), "c": "promote"})
    assert store.delete_intel_item("b") is True
    assert store.get_intel_item("b") is None
    assert item_ids(store) == ["a", "c"]
    assert (store.count_intel_items(), store.count_intel_items(decision="promote")) == (2, 1)
    store.upsert_intel_item(make_item("b"))
    again = store.get_intel_item("b")
    assert again is not None
    assert (again["decision"], again["decision_reason"]) == (None, None)
    assert item_ids(store) == ["a", "c", "b"]
    assert_sound(store)


def test_item_that_is_not_there_is_not_deleted(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a"))
    before = everything(store)
    assert store.delete_intel_item("none") is False
    assert store.delete_intel_item("") is False
    assert everything(store) == before


def test_item_of_a_finished_run_is_deleted(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a"))
    store.finish_run("run-1", "completed")
    assert store.delete_intel_item("a")
    assert item_ids(store) == []


def test_item_of_a_recovered_run_is_deleted_by_force_only(store: StateStore) -> None:
    """Its worker would delete what the next try has recorded since."""
    store.upsert_intel_item(make_item("a"))
    store.recover_stale_runs(0)
    with pytest.raises(RunFinishedError, match=r'^delete_intel_item "a": the run "run-1" .*recovered.*force=True'):
        store.delete_intel_item("a")
    assert item_ids(store) == ["a"]
    assert store.delete_intel_item("none") is False
    assert store.delete_intel_item("a", force=True)
    assert item_ids(store) == []


def test_deletion_is_no_heartbeat(lasting: Engine) -> None:
    """An operator who cleans up must not make a dead run look alive."""
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a"))
    lasting.edit("runs", started_at="2001-01-01T00:00:00+00:00", heartbeat_at=None)
    lasting.edit("intel_items", created_at="2001-01-01T00:00:00+00:00")
    with lasting.open() as store:
        assert store.delete_intel_item("a")
        assert [run.run_id for run in store.recover_stale_runs(60, trust_clock=True)] == ["run-1"]


def test_deletion_is_undone_with_its_transaction(store: StateStore) -> None:
    store.upsert_intel_items_batch([make_item("a"), make_item("b")])
    try:
        with store.transaction():
            assert store.delete_intel_item("a")
            assert item_ids(store) == ["b"]
            assert not store.delete_intel_item("a")
            raise Boom
    except Boom:
        pass
    assert item_ids(store) == ["a", "b"]


@pytest.mark.usefixtures("concurrent")
def test_deletion_is_seen_by_others_once_it_is_committed(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a"))
    with store.transaction():
        store.delete_intel_item("a")
        assert in_thread(item_ids, store) == ["a"]
    assert in_thread(item_ids, store) == []


def test_of_several_that_delete_an_item_one_is_told_so(store: StateStore) -> None:
    for number in range(20):
        store.upsert_intel_item(make_item(f"{number}"))
        told = in_threads([lambda number=number: store.delete_intel_item(f"{number}")] * 4)  # type: ignore[misc]
        assert sorted(told) == [False, False, False, True]


def test_arguments_of_other_types_are_refused(store: StateStore) -> None:
    with pytest.raises(InvalidTypeError, match=r"^delete_intel_item: item_id must be a str, not int"):
        store.delete_intel_item(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"^delete_intel_item: force must be a bool, not int"):
        store.delete_intel_item("a", force=1)  # type: ignore[arg-type]
