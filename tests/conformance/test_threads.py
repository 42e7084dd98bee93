"""Many threads on one store: nothing is lost, torn or told to another thread."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from orchestrator.state_store import StateStoreError, StoreBusyError

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound
from tests.helpers import (
    held_transaction,
    in_threads,
    item_ids,
    make_item,
)


def test_five_threads_of_a_thousand_upserts_leave_five_thousand_items(begun: Engine) -> None:
    with begun.open(**begun.quick) as store:

        def write(thread: int) -> None:
            for index in range(1000):
                store.upsert_intel_item(make_item(f"{thread}-{index}", claims_json=[thread, index]))

        in_threads([partial(write, thread) for thread in range(5)])
        items = store.list_intel_items_for_run("run-1")
        assert {tuple(item["claims_json"]) for item in items} == {(t, i) for t in range(5) for i in range(1000)}
        assert len(items) == 5000
        assert_sound(store)


def test_acknowledged_writes_of_all_threads_are_there_at_full_sync(begun: Engine) -> None:
    with begun.open() as store:

        def write(thread: int) -> None:
            for index in range(25):
                store.upsert_intel_items_batch(make_item(f"{thread}-{index}-{part}") for part in range(3))
                assert len({f"{thread}-{index}-{part}" for part in range(3)} & set(item_ids(store))) == 3

        in_threads([partial(write, thread) for thread in range(8)])
        assert len(item_ids(store)) == 600


def test_errors_reach_the_thread_that_made_them_and_no_other(begun: Engine) -> None:
    """Writes of several threads may share a commit; a bad one among them fails alone."""
    with begun.open(**begun.quick) as store:

        def write(thread: int) -> None:
            for index in range(200):
                name = f"{thread}-{index}"
                if thread % 2:
                    store.upsert_intel_item(make_item(name))
                else:
                    with pytest.raises(StateStoreError, match=rf"none-{name}\b"):
                        store.upsert_intel_items_batch([make_item(name), make_item(f"x{name}", f"none-{name}")])

        in_threads([partial(write, thread) for thread in range(6)])
        assert sorted(item_ids(store)) == sorted(f"{thread}-{index}" for thread in (1, 3, 5) for index in range(200))


def test_readers_beyond_the_pool_wait_and_all_read(begun: Engine) -> None:
    with begun.open(pool_size=1, **begun.quick) as store:
        store.upsert_intel_items_batch(make_item(f"{index}") for index in range(100))

        def read() -> None:
            for _ in range(50):
                assert len(store.list_intel_items_for_run("run-1")) == 100
                assert store.count_intel_items() == 100

        in_threads([read] * 12)


def test_readers_never_see_half_a_batch(begun: Engine) -> None:
    with begun.open(**begun.quick) as store:
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                assert len(store.list_intel_items_for_run("run-1")) % 10 == 0

        def write() -> None:
            try:
                for index in range(100):
                    store.upsert_intel_items_batch(make_item(f"{index}-{part}") for part in range(10))
                    with store.transaction():
                        for part in range(10):
                            store.upsert_intel_item(make_item(f"t{index}-{part}"))
            finally:
                stop.set()

        in_threads([read, read, write])


def test_timeout_of_zero_is_busy_at_once_and_writes_where_it_can(begun: Engine) -> None:
    with begun.open(busy_timeout=0) as store:
        with held_transaction(store):
            started = time.monotonic()
            with pytest.raises(StoreBusyError):
                store.upsert_intel_item(make_item())
            assert time.monotonic() - started < 5
        store.upsert_intel_item(make_item())
        assert item_ids(store) == ["item-1"]
