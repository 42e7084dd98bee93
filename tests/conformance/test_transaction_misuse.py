# ruff: noqa: PT012 - what a block does before it fails is the point
"""Transactions entered or left where they cannot be, dropped, or open when the store is closed."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from orchestrator.state_store import StateStore, StateStoreError, StoreClosedError, TransactionError

from tests.conformance.conftest import Engine
from tests.helpers import Boom, assert_free, in_thread, item_ids, put


def test_transaction_cannot_be_entered_twice(store: StateStore) -> None:
    transaction = store.transaction()
    with transaction:
        put(store, "a")
        with pytest.raises(TransactionError):
            transaction.__enter__()
        put(store, "b")
    with pytest.raises(TransactionError):
        transaction.__enter__()
    assert item_ids(store) == ["a", "b"]
    assert_free(store)


def test_transaction_cannot_be_left_twice_nor_before_it_is_entered(store: StateStore) -> None:
    transaction = store.transaction()
    with pytest.raises(TransactionError, match=r"^transaction: it was not entered"):
        transaction.__exit__(None, None, None)
    with transaction:
        put(store, "a")
    with pytest.raises(TransactionError):
        transaction.__exit__(None, None, None)
    with store.transaction():
        put(store, "b")
        with pytest.raises(TransactionError):
            transaction.__exit__(None, None, None)
    assert item_ids(store) == ["a", "b"]


def test_leaving_the_outer_block_before_the_inner_one_is_an_error_and_leaves_nothing_open(store: StateStore) -> None:
    outer, inner = store.transaction(), store.transaction()
    outer.__enter__()
    put(store, "a")
    inner.__enter__()
    put(store, "b")
    errors = 0
    for transaction in (outer, inner, outer):
        try:
            transaction.__exit__(None, None, None)
        except TransactionError:
            errors += 1
    assert errors
    assert_free(store)


def test_dropped_transaction_rolls_back(store: StateStore) -> None:
    transaction = store.transaction()
    transaction.__enter__()
    put(store, "a")
    del transaction
    gc.collect()
    assert item_ids(store) == []
    assert_free(store)


def test_dropped_inner_transaction_rolls_back_alone(store: StateStore) -> None:
    with store.transaction():
        put(store, "a")
        inner = store.transaction()
        inner.__enter__()
        put(store, "b")
        del inner
        gc.collect()
        assert item_ids(store) == ["a"]
        put(store, "c")
    assert item_ids(store) == ["a", "c"]


def test_transaction_dropped_by_another_thread_rolls_back(store: StateStore) -> None:
    box = [store.transaction()]
    box[0].__enter__()
    put(store, "a")
    in_thread(box.clear)
    gc.collect()
    assert item_ids(store) == []
    assert_free(store)


def test_transaction_in_a_dropped_generator_rolls_back(store: StateStore) -> None:
    def block() -> Iterator[None]:
        with store.transaction():
            put(store, "a")
            yield

    generator = block()
    next(generator)
    assert item_ids(store) == ["a"]
    del generator
    gc.collect()
    assert item_ids(store) == []
    assert_free(store)


def test_transaction_that_is_never_entered_holds_nothing(store: StateStore) -> None:
    transaction = store.transaction()
    assert_free(store)
    del transaction
    assert_free(store)


@pytest.mark.parametrize("depth", [1, 2])
def test_close_inside_rolls_back_and_the_exit_raises(lasting: Engine, depth: int) -> None:
    store = lasting.open()
    store.start_run("run-1", "daily", {})
    with pytest.raises((StoreClosedError, TransactionError)), store.transaction():
        put(store, "a")
        if depth == 2:
            with pytest.raises((StoreClosedError, TransactionError)), store.transaction():
                put(store, "b")
                store.close()
        else:
            store.close()
        with pytest.raises(StateStoreError):
            put(store, "c")
    with lasting.open() as store:
        assert item_ids(store) == []
        assert_free(store)


def test_exception_after_close_inside_passes_untouched(lasting: Engine) -> None:
    store = lasting.open()
    error = Boom("mine")
    with pytest.raises(Boom) as caught, store.transaction():
        store.close()
        raise error
    assert caught.value is error
