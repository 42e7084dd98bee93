"""`StateStore(":memory:")`: the same API on one connection."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path

import pytest
from orchestrator.state_store import ReadOnlyError, RunNotFoundError, StateStore, StoreBusyError, StoreClosedError

from tests.helpers import TIMEOUT, Boom, held_transaction, in_thread, in_threads, item_ids, make_item, put, value


@pytest.fixture
def memory() -> StateStore:
    """Open a store in memory, with the run `run-1` in it."""
    store = StateStore(":memory:", busy_timeout=0.2)
    store.start_run("run-1", "daily", {})
    return store


def test_creates_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        assert store.db_path == Path(":memory:")
        assert ":memory:" in repr(store)
    assert list(tmp_path.iterdir()) == []


def test_whole_api(memory: StateStore) -> None:
    memory.upsert_intel_item(make_item("a", claims_json={"n": 1}))
    memory.upsert_intel_items_batch([make_item("b"), make_item("c")])
    memory.write_telemetry("run-1", {"n": 3})
    with memory.transaction():
        memory.upsert_intel_item(make_item("d"))
        memory.finish_run("run-1", "completed", "notes")
        assert item_ids(memory) == ["a", "b", "c", "d"]
    with pytest.raises(RunNotFoundError):
        memory.finish_run("run-9", "failed")
    assert memory.list_intel_items_for_run("run-1")[0]["claims_json"] == {"n": 1}
    assert value(memory, "SELECT status || notes FROM runs") == "completednotes"
    assert json.loads(value(memory, "SELECT telemetry_json FROM telemetry")) == {"n": 3}


def test_two_stores_are_separate(memory: StateStore) -> None:
    memory.upsert_intel_item(make_item("a"))
    with StateStore(":memory:") as other:
        assert item_ids(other) == []
        other.start_run("run-1", "daily", {})
        other.upsert_intel_item(make_item("b"))
    assert item_ids(memory) == ["a"]


def test_nothing_is_left_after_close(memory: StateStore) -> None:
    memory.close()
    with pytest.raises(StoreClosedError):
        item_ids(memory)
    with StateStore(":memory:") as store:
        assert value(store, "SELECT count(*) FROM runs") == 0


def test_threads_write_and_read_at_the_same_time() -> None:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})

        def work(thread: int) -> None:
            for index in range(100):
                with store.transaction():
                    store.upsert_intel_item(make_item(f"{thread}-{index}-a"))
                    store.upsert_intel_item(make_item(f"{thread}-{index}-b"))
                assert len(item_ids(store)) % 2 == 0

        in_threads([partial(work, thread) for thread in range(4)])
        assert len(item_ids(store)) == 800


READS: dict[str, Callable[[StateStore], object]] = {
    "list": item_ids,
    "connection": lambda store: store.connection.execute("SELECT count(*) FROM intel_items").fetchall(),
    "upsert": lambda store: store.upsert_intel_item(make_item("other")),
    "transaction": lambda store: store.transaction().__enter__(),
}


@pytest.mark.parametrize("call", READS)
def test_other_threads_wait_while_a_transaction_is_open(memory: StateStore, call: str) -> None:
    """There is one connection: a read by another thread would see what is not committed."""
    with held_transaction(memory, make_item("a")):
        started = time.monotonic()
        with pytest.raises(StoreBusyError):
            READS[call](memory)
        assert time.monotonic() - started >= 0.15
    READS[call](memory)


def test_read_of_another_thread_is_done_once_the_transaction_is_over() -> None:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})

        def write() -> list[str]:
            with store.transaction():
                store.upsert_intel_item(make_item("a"))
                store.upsert_intel_item(make_item("b"))
            return []

        work: list[Callable[[], list[str]]] = [write, *[partial(item_ids, store)] * 5]
        results = in_threads(work)
        assert all(result in ([], ["a", "b"]) for result in results)
        assert in_thread(item_ids, store) == ["a", "b"]


def test_other_task_of_the_thread_gets_busy_at_once() -> None:
    store = StateStore(":memory:", busy_timeout=TIMEOUT)
    store.start_run("run-1", "daily", {})

    async def child() -> None:
        for call in READS.values():
            with pytest.raises(StoreBusyError):
                call(store)

    async def parent() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            await asyncio.create_task(child())

    started = time.monotonic()
    asyncio.run(parent())
    assert time.monotonic() - started < TIMEOUT / 2
    assert item_ids(store) == ["a"]


def test_transaction_rolls_back(memory: StateStore) -> None:
    def fail() -> None:
        with memory.transaction():
            memory.upsert_intel_item(make_item("a"))
            raise Boom

    for _ in range(3):
        with pytest.raises(Boom):
            fail()
    assert in_thread(item_ids, memory) == []


def test_connection_is_read_only_in_memory_too(memory: StateStore) -> None:
    for sql in (
        "DELETE FROM runs",
        "BEGIN",
        "PRAGMA query_only = OFF",
        "ATTACH ':memory:' AS x",
        "CREATE TEMP TABLE t (x)",
    ):
        with pytest.raises(ReadOnlyError):
            memory.connection.execute(sql)
    assert value(memory, "SELECT count(*) FROM runs") == 1


def test_store_in_memory_is_read_by_its_owner_alone_meanwhile() -> None:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        with store.transaction():
            put(store, "a")
            with pytest.raises(StoreBusyError, match="could never end"):
                copy_context().run(item_ids, store)
            assert item_ids(store) == ["a"]
        assert copy_context().run(item_ids, store) == ["a"]
