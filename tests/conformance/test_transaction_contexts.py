"""Who shares a thread and a task with the owner of a transaction, but not its Context, is outside of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from types import ModuleType

import pytest
from orchestrator.state_store import StateStore, StoreBusyError, StoreClosedError, Transaction

from tests.conformance.conftest import Engine
from tests.helpers import Boom, assert_free, in_thread, item_ids, make_item, put

pytestmark = pytest.mark.usefixtures("concurrent")

kept: ContextVar[object] = ContextVar("kept")


@pytest.fixture
def second(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    """Open another store, with the run `run-1` in it."""
    with new_engine().open() as store:
        store.start_run("run-1", "daily", {})
        yield store


def assert_outside(store: StateStore) -> None:
    """Check that the caller neither joins the open transaction, nor waits for its own thread, nor sees anything."""
    with pytest.raises(StoreBusyError, match="could never end; nothing was changed; repeat it once that transaction"):
        put(store, "outside")
    with pytest.raises(StoreBusyError, match="could never end"), store.transaction():
        pass
    with pytest.raises(StoreBusyError, match="could never end"):
        store.finish_run("run-1", "failed")
    assert item_ids(store) == []
    assert store.count_intel_items() == 0


def entered(store: StateStore, *names: str) -> Transaction:
    """Enter a transaction and write in it."""
    transaction = store.transaction().__enter__()
    put(store, *names)
    return transaction


@pytest.mark.parametrize("other", [copy_context, Context], ids=["copied", "new"])
def test_another_context_is_outside(store: StateStore, other: Callable[[], Context]) -> None:
    with contextlib.suppress(Boom), store.transaction():
        put(store, "a")
        context = other()
        context.run(assert_outside, store)
        put(store, "b")
        assert item_ids(store) == ["a", "b"]
        raise Boom
    context.run(put, store, "c")
    assert item_ids(store) == ["c"]


def test_context_is_inside_wherever_it_goes_on(store: StateStore) -> None:
    context = Context()
    transaction = context.run(entered, store, "a")
    assert_outside(store)
    copy_context().run(assert_outside, store)
    context.run(put, store, "b")
    assert context.run(item_ids, store) == ["a", "b"]
    context.run(transaction.__exit__, None, None, None)
    assert item_ids(store) == ["a", "b"]


def test_block_left_in_another_context_is_kept(store: StateStore) -> None:
    """A generator that holds one, as a fixture does, may go on in another Context."""
    context = Context()
    transaction = context.run(entered, store, "a")
    transaction.__exit__(None, None, None)
    assert item_ids(store) == ["a"]
    assert_free(store)


def test_block_left_in_another_context_by_an_exception_is_rolled_back(store: StateStore) -> None:
    transaction = Context().run(entered, store, "a")
    transaction.__exit__(Boom, Boom(), None)
    assert item_ids(store) == []
    assert_free(store)


def test_what_stays_behind_in_a_context_owns_nothing(store: StateStore) -> None:
    context = Context()
    context.run(entered, store, "a").__exit__(Boom, Boom(), None)
    with store.transaction():
        context.run(assert_outside, store)
    context.run(entered, store, "b").__exit__(None, None, None)
    with store.transaction():
        assert context.run(item_ids, store) == ["b"]
    assert_free(store)


def test_inner_block_left_in_another_context_is_the_outer_ones(store: StateStore) -> None:
    with store.transaction():
        inner = entered(store, "a")
        Context().run(inner.__exit__, None, None, None)
        inner = entered(store, "b")
        Context().run(inner.__exit__, Boom, Boom(), None)
        put(store, "c")
        with pytest.raises(StoreBusyError):
            copy_context().run(put, store, "d")
    assert item_ids(store) == ["a", "c"]


@pytest.mark.parametrize("first_in", [0, 1])
@pytest.mark.parametrize("first_out", [0, 1])
def test_two_stores_at_once_keep_their_owner(
    store: StateStore, second: StateStore, first_in: int, first_out: int
) -> None:
    """Whichever is entered first, and whichever is left first."""
    stores = [store, second]
    blocks = {index: entered(stores[index], "a") for index in (first_in, 1 - first_in)}
    for each in stores:
        copy_context().run(assert_outside, each)
        put(each, "b")
    blocks[first_out].__exit__(Boom, Boom(), None)
    left, open_still = stores[first_out], stores[1 - first_out]
    copy_context().run(assert_outside, open_still)
    put(open_still, "c")
    assert item_ids(open_still) == ["a", "b", "c"]
    put(left, "d")
    blocks[1 - first_out].__exit__(None, None, None)
    assert (item_ids(left), item_ids(open_still)) == (["d"], ["a", "b", "c"])
    assert_free(store)
    assert_free(second)


def test_transaction_leaves_no_trace_in_its_context(store: StateStore, second: StateStore) -> None:
    def variables() -> list[object]:
        with store.transaction(), second.transaction(), store.transaction():
            put(store, "a")
        with contextlib.suppress(Boom), store.transaction():
            raise Boom
        return list(copy_context().items())

    def refused() -> list[object]:
        assert_outside(store)
        return list(copy_context().items())

    with store.transaction():
        assert Context().run(refused) == []
    assert Context().run(variables) == []


def test_context_that_holds_its_own_transaction_is_collected_with_it(store: StateStore) -> None:
    """What tells the Context holds it, so that the two would keep each other, and the writer, for ever."""

    def abandon() -> None:
        transaction = entered(store, "a")
        kept.set(transaction)
        inner = entered(store, "b")
        kept.set([transaction, inner])

    Context().run(abandon)
    gc.collect()
    assert item_ids(store) == []
    assert_free(store)


def test_finalizers_may_call_the_store_at_any_moment(store: StateStore) -> None:
    """Garbage is collected in the middle of almost everything; what its finalizers write is the transaction's."""
    calls = 0

    class Circle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            nonlocal calls
            calls += 1
            put(store, "of a finalizer")

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with store.transaction():
            for _ in range(100):
                gc.disable()
                for _ in range(3):
                    Circle()
                gc.enable()
                # Garbage is collected when the next object is made, wherever that is: the first of these calls makes
                # none but to ask who calls.
                store.heartbeat("run-1")
                store.get_run("run-1")
            assert calls > 100
            assert item_ids(store) == ["of a finalizer"]
    finally:
        gc.enable()
        gc.set_threshold(*threshold)


def test_suspended_generator_shares_the_context_of_its_caller(store: StateStore) -> None:
    """As documented: nothing tells the two apart."""

    def block() -> Iterator[None]:
        with contextlib.suppress(Boom), store.transaction():
            yield
            raise Boom

    generator = block()
    next(generator)
    put(store, "of the caller")
    assert item_ids(store) == ["of the caller"]
    assert list(generator) == []
    assert item_ids(store) == []


def test_tasks_that_share_a_context_are_outside_of_each_other(store: StateStore) -> None:
    async def main() -> None:
        inside, met = asyncio.Event(), asyncio.Event()
        context = copy_context()

        async def holder() -> None:
            with contextlib.suppress(Boom), store.transaction():
                put(store, "a")
                inside.set()
                await met.wait()
                assert item_ids(store) == ["a"]
                raise Boom

        async def other() -> None:
            await inside.wait()
            assert_outside(store)
            met.set()

        loop = asyncio.get_running_loop()
        await asyncio.gather(*[loop.create_task(each(), context=context) for each in (holder, other)])
        put(store, "b")

    asyncio.run(main())
    assert item_ids(store) == ["b"]


def test_run_that_ends_in_anothers_transaction_is_not_finished_in_it(store: StateStore) -> None:
    run = store.run("run-2", "daily", {})
    run.__enter__()
    transaction = Context().run(entered, store, "a")
    with pytest.raises(StoreBusyError):
        run.__exit__(None, None, None)
    transaction.__exit__(Boom, Boom(), None)
    record = store.get_run("run-2")
    assert record
    assert record.status == "running"


def test_long_calls_are_the_owners_too(store: StateStore) -> None:
    """Large batches and long lists are done by threads of their own."""
    with store.transaction():
        store.upsert_intel_items_batch([make_item(f"{number}") for number in range(2_000)])
        assert len(item_ids(store)) == 2_000
        assert store.count_intel_items() == 2_000
        copy_context().run(assert_outside, store)
    assert in_thread(store.count_intel_items) == 2_000


def test_close_inside_from_another_context(lasting: Engine, store: StateStore) -> None:
    context = Context()
    transaction = context.run(entered, store, "a")
    store.close()
    with pytest.raises(StoreClosedError):
        context.run(put, store, "b")
    with pytest.raises(StoreClosedError):
        context.run(transaction.__exit__, None, None, None)
    with lasting.open() as store:
        assert item_ids(store) == []
        assert_free(store)


def test_asyncio_that_another_thread_still_imports_is_nobodys(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module is there before anything is in it; a transaction that began just then failed with AttributeError."""
    monkeypatch.setitem(sys.modules, "asyncio.tasks", ModuleType("asyncio.tasks"))
    with store.transaction():
        put(store, "mine")
    assert item_ids(store) == ["mine"]
