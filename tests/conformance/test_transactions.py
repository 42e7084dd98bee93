# ruff: noqa: PT012 - what a block does before it fails is the point
"""transaction(): all of a block or nothing, nested blocks included."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import pickle
from collections.abc import Callable

import pytest
from orchestrator.state_store import (
    MissingFieldError,
    RunExistsError,
    RunNotFoundError,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, assert_free, in_thread, item_ids, make_item, put


def status(store: StateStore) -> str:
    run = store.get_run("run-1")
    assert run is not None
    return run.status


def test_block_is_kept_as_a_whole(store: StateStore) -> None:
    with store.transaction():
        store.start_run("run-2", "daily", {})
        put(store, "a", "b")
        store.write_telemetry("run-1", {"n": 2})
        store.finish_run("run-1", "completed")
    assert item_ids(store) == ["a", "b"]
    assert in_thread(status, store) == "completed"
    assert_free(store)


class CustomBaseException(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [
        Boom("mine"),
        ValueError("mine"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        CustomBaseException(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("depth", [1, 3])
def test_any_exception_undoes_the_block_and_passes_untouched(
    store: StateStore, error: BaseException, depth: int
) -> None:
    before = everything(store)

    def blocks(depth: int) -> None:
        with store.transaction():
            put(store, f"level-{depth}")
            store.write_telemetry("run-1", {"n": depth})
            store.finish_run("run-1", "completed")
            store.start_run(f"run-1-{depth}", "daily", {})
            if depth == 1:
                raise error
            blocks(depth - 1)

    with pytest.raises(type(error)) as caught:
        blocks(depth)
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    assert everything(store) == before
    assert_free(store)


def test_inner_block_that_fails_undoes_itself_alone(store: StateStore) -> None:
    with store.transaction():
        put(store, "a")
        with pytest.raises(Boom), store.transaction():
            put(store, "b")
            with store.transaction():
                put(store, "c")
            raise Boom
        put(store, "d")
    assert item_ids(store) == ["a", "d"]


def test_outer_block_that_fails_undoes_the_inner_one_that_was_kept(store: StateStore) -> None:
    with pytest.raises(Boom), store.transaction():
        with store.transaction():
            put(store, "a")
        assert item_ids(store) == ["a"]
        raise Boom
    assert item_ids(store) == []
    assert_free(store)


def test_repr_says_of_which_store_and_how_far_it_is(engine: Engine, store: StateStore) -> None:
    transaction = store.transaction()
    assert repr(transaction) == f"<Transaction of {engine.location!r}, new>"
    with transaction:
        assert repr(transaction) == f"<Transaction of {engine.location!r}, open>"
    assert repr(transaction) == f"<Transaction of {engine.location!r}, over>"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_transaction_cannot_be_pickled_or_copied(store: StateStore, duplicate: Callable[[object], object]) -> None:
    with store.transaction() as transaction, pytest.raises(TypeError, match="cannot pickle"):
        duplicate(transaction)
    with pytest.raises(TypeError, match=r"orchestrator\.state_store\.Transaction"):
        type(transaction)()


def test_blocks_one_after_the_other_inside_one(store: StateStore) -> None:
    with store.transaction():
        for index in range(50):
            with contextlib.suppress(Boom), store.transaction():
                put(store, f"{index:02}")
                if index % 2:
                    raise Boom
    assert item_ids(store) == [f"{index:02}" for index in range(0, 50, 2)]


def test_sixty_levels(store: StateStore) -> None:
    def nest(level: int) -> None:
        with store.transaction():
            put(store, f"{level:02}")
            if level < 60:
                nest(level + 1)
            if level == 30:
                raise Boom

    with store.transaction():
        with pytest.raises(Boom):
            nest(1)
        assert item_ids(store) == []
        put(store, "last")
    assert item_ids(store) == ["last"]


def test_failing_calls_inside_undo_themselves_alone(store: StateStore) -> None:
    with store.transaction():
        put(store, "a")
        with pytest.raises(RunNotFoundError):
            store.upsert_intel_items_batch([make_item("b"), make_item("c", "run-9")])
        with pytest.raises(RunExistsError):
            store.start_run("run-1", "daily", {})
        with pytest.raises(RunNotFoundError):
            store.finish_run("run-9", "failed")
        with pytest.raises(RunNotFoundError):
            store.write_telemetry("run-9", {})
        with pytest.raises(MissingFieldError):
            store.upsert_intel_items_batch([make_item("d"), {}])
        with pytest.raises(TypeError):
            store.write_telemetry("run-1", object())
        assert item_ids(store) == ["a"]
        put(store, "e")
    assert item_ids(store) == ["a", "e"]
    assert store.stats().telemetry == 0


def test_failing_call_in_an_inner_block_that_is_kept(store: StateStore) -> None:
    with store.transaction():
        with store.transaction():
            put(store, "a")
            with pytest.raises(RunNotFoundError):
                store.upsert_intel_item(make_item("b", "run-9"))
        put(store, "c")
    assert item_ids(store) == ["a", "c"]


def test_error_of_the_store_that_leaves_the_block_undoes_it(store: StateStore) -> None:
    with pytest.raises(RunNotFoundError) as caught, store.transaction():
        put(store, "a")
        store.finish_run("run-9", "failed")
    assert caught.value.__context__ is None
    assert item_ids(store) == []
    assert_free(store)


def test_reads_inside_see_the_blocks_own_writes(store: StateStore) -> None:
    with store.transaction():
        put(store, "a")
        assert item_ids(store) == ["a"]
        assert item_ids(store) == ["a"]
        with store.transaction():
            put(store, "b")
            assert store.count_intel_items() == 2
        store.finish_run("run-1", "partial")
        assert status(store) == "partial"


def test_reads_after_an_undone_block_do_not_see_its_writes(store: StateStore) -> None:
    with store.transaction():
        with pytest.raises(Boom), store.transaction():
            put(store, "a")
            raise Boom
        assert item_ids(store) == []
        assert store.count_intel_items() == 0


def test_block_without_a_write(store: StateStore) -> None:
    before = everything(store)
    with store.transaction():
        pass
    with store.transaction(), store.transaction():
        item_ids(store)
    assert everything(store) == before
    assert_free(store)
