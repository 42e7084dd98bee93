"""Whose transaction it is: the thread or the asyncio task that entered it, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from orchestrator.state_store import StateStore, StoreBusyError, TransactionError

from tests.conformance.conftest import Engine
from tests.helpers import TIMEOUT, Boom, held_transaction, in_process, in_thread, in_threads, item_ids, make_item
from tests.programs import strangers

pytestmark = pytest.mark.usefixtures("concurrent")

Body = Callable[[], Coroutine[Any, Any, None]]


async def together(*bodies: Body) -> None:
    """Run coroutines as tasks of this thread."""
    async with asyncio.TaskGroup() as group:
        for body in bodies:
            group.create_task(body())


def test_other_threads_do_not_see_the_writes(store: StateStore) -> None:
    with held_transaction(store, make_item("a")):
        assert item_ids(store) == []
        assert store.count_intel_items() == 0


def test_other_threads_see_the_writes_after_the_block(store: StateStore) -> None:
    with store.transaction():
        store.upsert_intel_item(make_item("a"))
        assert in_thread(item_ids, store) == []
    assert in_thread(item_ids, store) == ["a"]


def test_threads_started_inside_are_outside(lasting: Engine, store: StateStore) -> None:
    with lasting.open(busy_timeout=0.05) as impatient:

        def write() -> None:
            with pytest.raises(StoreBusyError):
                impatient.upsert_intel_item(make_item("b"))
            with pytest.raises(StoreBusyError), impatient.transaction():
                pass

        with impatient.transaction():
            impatient.upsert_intel_item(make_item("a"))
            in_thread(write)
        assert item_ids(store) == ["a"]


def test_write_of_another_thread_waits_and_survives_a_roll_back(store: StateStore) -> None:
    started = threading.Event()

    def write() -> None:
        started.set()
        store.upsert_intel_item(make_item("other"))

    with ThreadPoolExecutor(1) as pool:
        with contextlib.suppress(Boom), store.transaction():
            store.upsert_intel_item(make_item("mine"))
            writing = pool.submit(write)
            assert started.wait(TIMEOUT)
            raise Boom
        writing.result(TIMEOUT)
    assert item_ids(store) == ["other"]


def test_transactions_of_many_threads_do_not_mix(store: StateStore) -> None:
    """Each block reads a number and writes the next one: a lost update shows in the sum."""

    def add() -> None:
        for _ in range(25):
            with store.transaction():
                rows = store.list_intel_items_for_run("run-1")
                count = rows[0]["claims_json"] if rows else 0
                store.upsert_intel_item(make_item("sum", claims_json=count + 1))

    in_threads([add] * 6)
    assert [item["claims_json"] for item in store.list_intel_items_for_run("run-1")] == [150]


def test_another_thread_cannot_leave_the_transaction(store: StateStore) -> None:
    with store.transaction() as transaction:
        store.upsert_intel_item(make_item("a"))
        with pytest.raises(TransactionError):
            in_thread(transaction.__exit__, None, None, None)
        store.upsert_intel_item(make_item("b"))
    assert item_ids(store) == ["a", "b"]


def test_thread_that_ended_inside_leaves_its_transaction_to_nobody(lasting: Engine) -> None:
    """A new thread gets the identifier and the memory of an old one: what it writes is not that one's for it."""
    # Its patience is a few milliseconds, which may not do for making a store on a server.
    lasting.open().close()
    outcome = in_process(strangers.after_threads_that_ended_inside, lasting.location, 60)
    assert outcome == {"joined": 0, "identifier used again": True, "items": ["after"]}


def test_task_that_would_block_its_own_thread_gets_busy_at_once(store: StateStore) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            entered.set()
            await release.wait()
            assert item_ids(store) == ["a"]

    async def other() -> None:
        await entered.wait()
        started = time.monotonic()
        with pytest.raises(StoreBusyError):
            store.upsert_intel_item(make_item("b"))
        with pytest.raises(StoreBusyError), store.transaction():
            pass
        with pytest.raises(StoreBusyError):
            store.finish_run("run-1", "failed")
        assert time.monotonic() - started < 5, "not at once"
        assert item_ids(store) == []
        assert store.count_intel_items() == 0
        release.set()

    asyncio.run(together(holder, other))
    assert item_ids(store) == ["a"]


def test_task_inside_a_block_of_its_thread_does_not_inherit_it(store: StateStore) -> None:
    async def task() -> None:
        assert item_ids(store) == []
        with pytest.raises(StoreBusyError):
            store.upsert_intel_item(make_item("b"))

    with store.transaction():
        store.upsert_intel_item(make_item("a"))
        asyncio.run(task())
    assert item_ids(store) == ["a"]


def test_callback_of_the_loop_is_not_the_task(store: StateStore) -> None:
    async def task() -> None:
        called: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                store.upsert_intel_item(make_item("b"))
                called.set_result("written")
            except StoreBusyError:
                called.set_result("busy")

        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            asyncio.get_running_loop().call_soon(callback)
            assert await called == "busy"

    asyncio.run(task())
    assert item_ids(store) == ["a"]


def test_subtask_does_not_inherit_the_transaction(store: StateStore) -> None:
    async def child() -> None:
        with pytest.raises(StoreBusyError):
            store.upsert_intel_item(make_item("b"))
        assert item_ids(store) == []

    async def parent() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            await asyncio.create_task(child())

    asyncio.run(parent())
    assert item_ids(store) == ["a"]


def test_another_task_cannot_leave_the_transaction(store: StateStore) -> None:
    async def parent() -> None:
        with store.transaction() as transaction:
            store.upsert_intel_item(make_item("a"))

            async def child() -> None:
                with pytest.raises(TransactionError):
                    transaction.__exit__(None, None, None)

            await asyncio.create_task(child())
            store.upsert_intel_item(make_item("b"))

    asyncio.run(parent())
    assert item_ids(store) == ["a", "b"]


def test_cancelled_task_rolls_back(store: StateStore) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def holder() -> None:
            with store.transaction():
                store.upsert_intel_item(make_item("a"))
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(holder())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        store.upsert_intel_item(make_item("b"))

    asyncio.run(main())
    assert item_ids(store) == ["b"]


def test_tasks_that_do_not_wait_inside_take_turns(store: StateStore) -> None:
    async def write(name: str) -> None:
        for index in range(5):
            with store.transaction():
                store.upsert_intel_item(make_item(f"{name}{index}"))
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(write(name) for name in "abcdefgh"))

    asyncio.run(main())
    assert len(item_ids(store)) == 40


def test_write_in_a_worker_thread_of_the_loop_waits_for_the_task(store: StateStore) -> None:
    async def main() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            write = asyncio.create_task(asyncio.to_thread(store.upsert_intel_item, make_item("b")))
            assert await asyncio.to_thread(item_ids, store) == []
            store.upsert_intel_item(make_item("c"))
        await write

    asyncio.run(main())
    assert sorted(item_ids(store)) == ["a", "b", "c"]
