from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import StateStore, StateStoreError, StoreBusyError

from tests.helpers import (
    TIMEOUT,
    Peer,
    assert_sound,
    held_transaction,
    in_threads,
    item_ids,
    make_item,
    value,
)
from tests.programs import plain


def test_five_threads_of_a_thousand_upserts_leave_five_thousand_items(run_path: Path) -> None:
    with StateStore(run_path, synchronous="NORMAL") as store:

        def write(thread: int) -> None:
            for index in range(1000):
                store.upsert_intel_item(make_item(f"{thread}-{index}", claims_json=[thread, index]))

        in_threads([partial(write, thread) for thread in range(5)])
        items = store.list_intel_items_for_run("run-1")
        assert {tuple(item["claims_json"]) for item in items} == {(t, i) for t in range(5) for i in range(1000)}
        assert len(items) == 5000
        assert_sound(store)


def test_acknowledged_writes_of_all_threads_are_there_at_full_sync(run_path: Path) -> None:
    with StateStore(run_path) as store:

        def write(thread: int) -> None:
            for index in range(25):
                store.upsert_intel_items_batch(make_item(f"{thread}-{index}-{part}") for part in range(3))
                assert len({f"{thread}-{index}-{part}" for part in range(3)} & set(item_ids(store))) == 3

        in_threads([partial(write, thread) for thread in range(8)])
        assert len(item_ids(store)) == 600


def test_errors_reach_the_thread_that_made_them_and_no_other(run_path: Path) -> None:
    """Writes of several threads may share a commit; a bad one among them fails alone."""
    with StateStore(run_path, synchronous="NORMAL") as store:

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


def test_readers_beyond_the_pool_wait_and_all_read(run_path: Path) -> None:
    with StateStore(run_path, pool_size=1, synchronous="NORMAL") as store:
        store.upsert_intel_items_batch(make_item(f"{index}") for index in range(100))

        def read() -> None:
            for _ in range(50):
                assert len(store.list_intel_items_for_run("run-1")) == 100
                assert value(store, "SELECT count(*) FROM intel_items") == 100

        in_threads([read] * 12)


def test_readers_never_see_half_a_batch(run_path: Path) -> None:
    with StateStore(run_path, synchronous="NORMAL") as store:
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


@pytest.mark.parametrize("act", ["upsert", "transaction", "finish_run"])
def test_lock_of_another_process_is_busy_at_the_timeout(run_path: Path, act: str) -> None:
    acts: dict[str, Callable[[StateStore], object]] = {
        "upsert": lambda store: store.upsert_intel_item(make_item()),
        "transaction": lambda store: store.transaction().__enter__(),
        "finish_run": lambda store: store.finish_run("run-1", "completed"),
    }
    with StateStore(run_path, busy_timeout=0.5) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        started = time.monotonic()
        with pytest.raises(StoreBusyError):
            acts[act](store)
        assert 0.4 <= time.monotonic() - started < 5
        assert item_ids(store) == []
        holder.tell()
        holder.result()
        acts["upsert"](store)
        assert item_ids(store) == ["item-1"]


def test_threads_that_queue_share_one_deadline_with_the_lock(run_path: Path) -> None:
    """Four writes one after the other would take four timeouts."""
    with StateStore(run_path, busy_timeout=1) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"

        def write() -> float:
            started = time.monotonic()
            with pytest.raises(StoreBusyError):
                store.upsert_intel_item(make_item())
            return time.monotonic() - started

        assert all(0.8 <= seconds < 2.5 for seconds in in_threads([write] * 4))


def test_timeout_of_zero_is_busy_at_once_and_writes_where_it_can(run_path: Path) -> None:
    with StateStore(run_path, busy_timeout=0) as store:
        with held_transaction(store):
            started = time.monotonic()
            with pytest.raises(StoreBusyError):
                store.upsert_intel_item(make_item())
            assert time.monotonic() - started < 5
        store.upsert_intel_item(make_item())
        assert item_ids(store) == ["item-1"]


def test_write_that_waits_for_another_process_is_done_when_that_lets_go(run_path: Path) -> None:
    with StateStore(run_path) as store, Peer(plain.hold, str(run_path)) as holder, ThreadPoolExecutor(1) as pool:
        assert holder.hear() == "ready"
        writing = pool.submit(store.upsert_intel_item, make_item())
        assert item_ids(store) == []
        holder.tell()
        writing.result(TIMEOUT)
        assert item_ids(store) == ["item-1"]


class Reentrant:
    """Values that call the store while the store looks at them."""

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.called = 0

    def call(self) -> None:
        self.called += 1
        self.store.upsert_intel_item(make_item(f"inner-{self.called:03}"))
        item_ids(self.store)
        with self.store.transaction():
            self.store.upsert_intel_item(make_item("inner-transaction"))

    def item(self) -> Any:
        call = self.call

        class Item(dict[str, Any]):
            def __getitem__(self, key: str) -> Any:
                call()
                return super().__getitem__(key)

            def get(self, key: str, default: Any = None) -> Any:
                call()
                return super().get(key, default)

            def __contains__(self, key: object) -> bool:
                call()
                return super().__contains__(key)

        return Item(make_item("outer"))

    def value(self) -> Any:
        call = self.call

        class Value(dict[str, Any]):
            def items(self) -> Any:
                call()
                return super().items()

        return Value(a=1)

    def batch(self) -> Iterator[dict[str, Any]]:
        for index in range(3):
            self.call()
            yield make_item(f"outer-{index}")
        yield make_item("outer")


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside a transaction"])
@pytest.mark.parametrize("kind", ["mapping", "json value", "iterator"])
def test_values_that_call_the_store_do_not_deadlock(store: StateStore, kind: str, inside: bool) -> None:
    values = Reentrant(store)

    def write() -> None:
        if kind == "mapping":
            store.upsert_intel_item(values.item())
            store.upsert_intel_items_batch([values.item(), values.item()])
        elif kind == "json value":
            store.upsert_intel_item(make_item("outer", claims_json=values.value()))
            store.write_telemetry("run-1", [values.value()])
        else:
            store.upsert_intel_items_batch(values.batch())

    try:
        with store.transaction() if inside else contextlib.nullcontext():
            write()
    except StateStoreError:
        expected = {"after"}
    else:
        expected = {"outer", "after"}
    store.upsert_intel_item(make_item("after"))
    assert expected <= set(item_ids(store))
    assert_sound(store)


def test_finalizers_that_call_the_store_do_not_deadlock(store: StateStore) -> None:
    """The garbage collector may run in the middle of any call."""
    called = []

    class Finalized:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            with contextlib.suppress(StateStoreError):
                store.upsert_intel_item(make_item("finalizer"))
                item_ids(store)
            called.append(True)

    def write(thread: int) -> None:
        for index in range(100):
            Finalized()
            store.upsert_intel_item(make_item(f"{thread}-{index}", claims_json=[{"a": [index]}]))
            store.list_intel_items_for_run("run-1")

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        in_threads([partial(write, thread) for thread in range(3)])
    finally:
        gc.set_threshold(*threshold)
    assert called
    assert {f"{thread}-{index}" for thread in range(3) for index in range(100)} <= set(item_ids(store))
