"""Whoever waits for a lock, a reader or the disk while holding the interpreter's lock waits for ever."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import assert_sound, in_threads, item_ids, make_item

THREADS = 16
CALLS = 8


class Cycle:
    """Garbage that only the collector finds, in the middle of any call."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def eager_collector() -> Iterator[None]:
    """Have the garbage collector run all the time, over what is made from now on."""
    threshold = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def mix(store: StateStore, thread: int) -> None:
    """Make calls of every kind."""
    for index in range(CALLS):
        Cycle()
        name = f"{thread}-{index}"
        if index % 4 == 0:
            store.upsert_intel_item(make_item(name, claims_json=[{"a": [index]}]))
        elif index % 4 == 1:
            store.upsert_intel_items_batch([make_item(name)])
        elif index % 4 == 2:
            with store.transaction():
                store.upsert_intel_item(make_item(name))
        else:
            store.upsert_intel_item(make_item(name))
            store.connection.execute("SELECT count(*) FROM intel_items").fetchall()
        assert name in item_ids(store)


@pytest.mark.usefixtures("eager_collector")
@pytest.mark.parametrize("pool_size", [1, 2])
def test_threads_that_wait_for_each_other_hang_nothing(
    tmp_path: Path, pool_size: int, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    repeat = rounds(2, 50)
    for number in range(repeat):
        with StateStore(tmp_path / f"{number}.db", synchronous="NORMAL", pool_size=pool_size) as store:
            store.start_run("run-1", "daily", {})
            in_threads([partial(mix, store, thread) for thread in range(THREADS)])
            assert len(item_ids(store)) == THREADS * CALLS
            assert_sound(store)
    figure(f"{repeat} rounds of {THREADS} threads, no hang")
