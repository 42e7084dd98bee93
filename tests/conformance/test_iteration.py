"""iter_intel_items(): page by page, each item once."""

from __future__ import annotations

import itertools
import threading

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import in_threads, make_item


def ids(store: StateStore, run_id: str | None = None) -> list[str]:
    return [item["item_id"] for item in store.iter_intel_items(run_id=run_id)]


def test_items_come_as_the_list_has_them_whatever_the_pages(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    for batch, count in enumerate([1, 511, 512, 513, 1024, 3]):
        items = [make_item(f"{batch}-{number}", run_id=f"run-{1 + number % 2}") for number in range(count)]
        store.upsert_intel_items_batch(items)
    for run_id in ("run-1", "run-2"):
        assert list(store.iter_intel_items(run_id=run_id)) == store.list_intel_items_for_run(run_id)
    of_all = ids(store)
    assert len(of_all) == len(set(of_all)) == 2564
    of_one = ids(store, "run-2")
    assert [each for each in of_all if each in set(of_one)] == of_one


def test_an_unknown_run_and_an_empty_store_have_no_items(store: StateStore) -> None:
    assert ids(store, "nowhere") == []
    assert ids(store) == []


def test_nothing_is_held_open_between_pages(store: StateStore) -> None:
    store.upsert_intel_items_batch([make_item(str(number)) for number in range(1500)])
    iterator = store.iter_intel_items()
    next(iterator)
    with store.transaction():
        store.upsert_intel_item(make_item("late"))
    assert [item["item_id"] for item in iterator][-1] == "late"


@pytest.mark.usefixtures("concurrent")
def test_under_writers_each_item_that_is_there_comes_exactly_once(store: StateStore) -> None:
    before = [f"before-{number}" for number in range(2000)]
    store.upsert_intel_items_batch([make_item(name) for name in before])
    done = threading.Event()

    def write(thread: int) -> None:
        # There is an end to the new ones, or a slow reader would never come to it.
        for number in itertools.count():
            new = [make_item(f"{thread}-{number % 100}-{each}", title=f"{number}") for each in range(20)]
            store.upsert_intel_items_batch(new)
            store.upsert_intel_item(make_item(before[number % 2000], title=f"changed by {thread}"))
            if done.is_set():
                return

    def read() -> None:
        try:
            for _ in range(30):
                found = ids(store, "run-1")
                assert len(found) == len(set(found))
                assert [each for each in found if each.startswith("before")] == before
        finally:
            done.set()

    in_threads([read, lambda: write(1), lambda: write(2)])
