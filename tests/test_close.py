# ruff: noqa: PT012 - what a block does before it fails is the point
from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreClosedError, TransactionError

from tests.helpers import TIMEOUT, Peer, assert_sound, in_thread, in_threads, item_ids, make_item
from tests.programs import exits

CALLS: dict[str, Callable[[StateStore], object]] = {
    "start_run": lambda store: store.start_run("run-2", "daily", {}),
    "finish_run": lambda store: store.finish_run("run-1", "completed"),
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item()),
    "upsert_intel_items_batch": lambda store: store.upsert_intel_items_batch([make_item()]),
    "empty batch": lambda store: store.upsert_intel_items_batch([]),
    "list_intel_items_for_run": lambda store: store.list_intel_items_for_run("run-1"),
    "iter_intel_items": lambda store: list(store.iter_intel_items()),
    "write_telemetry": lambda store: store.write_telemetry("run-1", {}),
    "backup": lambda store: store.backup("never.db"),
    "transaction": lambda store: store.transaction().__enter__(),
    "connection": lambda store: store.connection.execute("SELECT 1"),
    "_conn": lambda store: store._conn.execute("SELECT 1"),
}


def entries(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    """Check that descriptors and native threads are back at the start. A thread that was joined may still be ending."""
    gc.collect()
    before = entries("/proc/self/fd"), entries("/proc/self/task")
    yield
    gc.collect()
    limit = time.monotonic() + TIMEOUT / 9
    while entries("/proc/self/task") > before[1] and time.monotonic() < limit:
        os.sched_yield()
    assert entries("/proc/self/fd") == before[0], "descriptors are left open"
    assert entries("/proc/self/task") <= before[1], "threads are left running"


@pytest.mark.parametrize("where", ["same thread", "other thread"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_after_close_raises(store: StateStore, call: str, where: str) -> None:
    store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        CALLS[call](store) if where == "same thread" else in_thread(CALLS[call], store)


def test_what_was_got_before_close_raises_too(store: StateStore) -> None:
    connection, transaction = store.connection, store.transaction()
    cursor = connection.execute("SELECT run_id FROM runs")
    store.close()
    with pytest.raises(StoreClosedError):
        connection.execute("SELECT 1")
    with pytest.raises(StoreClosedError):
        transaction.__enter__()
    assert cursor.fetchall() == [("run-1",)]


def test_close_again_does_nothing(store: StateStore) -> None:
    store.close()
    store.close()
    in_threads([store.close] * 4)
    with store:
        pass


def test_with_block_closes_and_passes_exceptions_on(path: Path) -> None:
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught, StateStore(path) as store:
        raise error
    assert caught.value is error
    with pytest.raises(StoreClosedError):
        store.list_intel_items_for_run("run-1")


def test_close_by_one_thread_closes_for_all(store: StateStore) -> None:
    in_threads([lambda: item_ids(store)] * 4)
    in_thread(store.close)
    with pytest.raises(StoreClosedError):
        item_ids(store)


def test_close_rolls_back_the_transaction_of_another_thread(path: Path) -> None:
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    entered, closed = threading.Event(), threading.Event()

    def hold() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            entered.set()
            assert closed.wait(TIMEOUT)

    def close() -> str:
        assert entered.wait(TIMEOUT)
        store.close()
        closed.set()
        return "closed"

    def hold_until_closed() -> str:
        try:
            hold()
        except (StoreClosedError, TransactionError) as error:
            return type(error).__name__
        return "kept in silence"

    assert in_threads([hold_until_closed, close])[0] != "kept in silence"
    with StateStore(path) as store:
        assert item_ids(store) == []


def test_writers_that_wait_when_the_store_is_closed_get_an_error(path: Path) -> None:
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    barrier = threading.Barrier(5)

    def write() -> None:
        barrier.wait(TIMEOUT)
        with pytest.raises(StoreClosedError):
            store.upsert_intel_item(make_item("waiting"))

    def hold() -> None:
        with pytest.raises((StoreClosedError, TransactionError)), store.transaction():
            barrier.wait(TIMEOUT)
            store.close()

    in_threads([hold, *[write] * 4])
    with StateStore(path) as store:
        assert item_ids(store) == []


def write_until_closed(store: StateStore, prefix: str, kept: list[str], progress: threading.Semaphore) -> None:
    for index in itertools.count():
        name = f"{prefix}-{index}"
        try:
            if index % 3:
                store.upsert_intel_item(make_item(name))
            else:
                with store.transaction():
                    store.upsert_intel_item(make_item(name))
        except StoreClosedError:
            return
        kept.append(name)
        progress.release()


def read_until_closed(store: StateStore) -> None:
    with pytest.raises(StoreClosedError):
        while True:
            store.list_intel_items_for_run("run-0")


@pytest.mark.parametrize("readers", [0, 3])
def test_close_among_eight_writers_keeps_what_was_acknowledged(path: Path, readers: int) -> None:
    """Each call is either kept or refused; nothing hangs, nothing else is raised."""
    random_ = random.Random(readers)
    kept: list[str] = []
    with leaving_nothing():
        for round_ in range(20):
            store = StateStore(path, synchronous="NORMAL", pool_size=2)
            if round_ == 0:
                store.start_run("run-1", "daily", {})
            progress = threading.Semaphore(0)
            with ThreadPoolExecutor(8 + readers) as pool:
                names = [f"{round_}-{writer}" for writer in range(8)]
                calls = [pool.submit(write_until_closed, store, name, kept, progress) for name in names]
                calls += [pool.submit(read_until_closed, store) for _ in range(readers)]
                for _ in range(random_.randrange(1, 40)):
                    assert progress.acquire(timeout=TIMEOUT)
                store.close()
                for call in calls:
                    call.result(TIMEOUT)
    with StateStore(path) as store:
        assert set(kept) <= set(item_ids(store))
        assert_sound(store)


@leaving_nothing()
def test_descriptors_and_threads_are_back_after_close(path: Path) -> None:
    for round_ in range(5):
        with StateStore(path) as store:
            in_threads([partial(item_ids, store)] * 6)
            with store.transaction():
                store.start_run(f"run-{round_}", "daily", {})


@leaving_nothing()
def test_descriptors_are_back_after_an_opening_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello, world\n" * 1000)
    for _ in range(5):
        with pytest.raises(Exception, match="text"):
            StateStore(path)
        with pytest.raises(Exception, match="sub"):
            StateStore(path / "sub")


def test_dropped_store_gives_its_descriptors_back(path: Path) -> None:
    with leaving_nothing():
        store = StateStore(path)
        store.start_run("run-1", "daily", {})
        del store
    with StateStore(path) as store:
        assert store.connection.execute("SELECT run_id FROM runs").fetchall() == [("run-1",)]


@pytest.mark.parametrize("how", ["idle", "in a transaction", "while threads write", "sys.exit in a thread's block"])
def test_exit_without_close_hangs_nothing_and_loses_nothing(path: Path, how: str) -> None:
    with Peer(exits.leave, str(path), how) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0
    with StateStore(path) as store:
        assert acknowledged <= set(item_ids(store))
        assert "not committed" not in item_ids(store)
        assert_sound(store)
