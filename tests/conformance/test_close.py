# ruff: noqa: PT012 - what a block does before it fails is the point
"""Closing a store: what is called after it, what was open, and what waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest
from orchestrator.state_store import StateStore, StoreClosedError, TransactionError

from tests.conformance.conftest import Engine
from tests.helpers import TIMEOUT, in_thread, in_threads, item_ids, leaving_nothing, make_item

CALLS: dict[str, Callable[[StateStore], object]] = {
    "start_run": lambda store: store.start_run("run-2", "daily", {}),
    "start_run of one that may be there": lambda store: store.start_run("run-1", "daily", {}, if_exists="return"),
    "finish_run": lambda store: store.finish_run("run-1", "completed"),
    "get_run": lambda store: store.get_run("run-1"),
    "list_runs": lambda store: store.list_runs(),
    "count_runs": lambda store: store.count_runs(),
    "run": lambda store: store.run("run-2", "daily", {}).__enter__(),
    "heartbeat": lambda store: store.heartbeat("run-1"),
    "recover_stale_runs": lambda store: store.recover_stale_runs(60),
    "reopen_run": lambda store: store.reopen_run("run-1"),
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item()),
    "upsert_intel_items_batch": lambda store: store.upsert_intel_items_batch([make_item()]),
    "empty batch": lambda store: store.upsert_intel_items_batch([]),
    "list_intel_items_for_run": lambda store: store.list_intel_items_for_run("run-1"),
    "get_intel_item": lambda store: store.get_intel_item("item-1"),
    "list_intel_items": lambda store: store.list_intel_items(),
    "list_intel_items of a page": lambda store: store.list_intel_items(item_type="note", limit=1),
    "count_intel_items": lambda store: store.count_intel_items(),
    "count_intel_items_by": lambda store: store.count_intel_items_by("decision"),
    "count_runs_by": lambda store: store.count_runs_by("status"),
    "decide": lambda store: store.decide("item-1", "promote"),
    "decide_batch": lambda store: store.decide_batch({"item-1": "promote"}),
    "delete_intel_item": lambda store: store.delete_intel_item("item-1"),
    "iter_intel_items": lambda store: list(store.iter_intel_items()),
    "write_telemetry": lambda store: store.write_telemetry("run-1", {}),
    "list_telemetry": lambda store: store.list_telemetry([]),
    "list_telemetry of many": lambda store: store.list_telemetry(["run-1"] * 1000),
    "merge_telemetry": lambda store: store.merge_telemetry("run-1", {}),
    "get_telemetry": lambda store: store.get_telemetry("run-1"),
    "delete_run": lambda store: store.delete_run("run-1"),
    "prune": lambda store: store.prune(keep_last=1),
    "stats": lambda store: store.stats(),
    "check": lambda store: store.check(),
    "transaction": lambda store: store.transaction().__enter__(),
}


@pytest.mark.parametrize("where", ["same thread", "other thread"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_after_close_raises(store: StateStore, call: str, where: str) -> None:
    store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        CALLS[call](store) if where == "same thread" else in_thread(CALLS[call], store)


@pytest.mark.parametrize("if_exists", ["error", "return"])
def test_the_error_names_the_call(store: StateStore, if_exists: Literal["error", "return"]) -> None:
    """That of a run which may be there once named the look for it, `get_run`."""
    store.close()
    with pytest.raises(StoreClosedError, match=r'^start_run "run-1": the store is closed'):
        store.start_run("run-1", "daily", {}, if_exists=if_exists)


def test_what_was_got_before_close_raises_too(store: StateStore) -> None:
    transaction, run, items = store.transaction(), store.run("run-2", "daily", {}), store.iter_intel_items()
    store.close()
    for enter in (transaction.__enter__, run.__enter__, lambda: next(items)):
        with pytest.raises(StoreClosedError):
            enter()


def test_close_again_does_nothing(store: StateStore) -> None:
    store.close()
    store.close()
    in_threads([store.close] * 4)
    with store:
        pass


def test_with_block_closes_and_passes_exceptions_on(lasting: Engine) -> None:
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught, lasting.open() as store:
        raise error
    assert caught.value is error
    with pytest.raises(StoreClosedError):
        store.list_intel_items_for_run("run-1")


def test_close_by_one_thread_closes_for_all(store: StateStore) -> None:
    in_threads([lambda: item_ids(store)] * 4)
    in_thread(store.close)
    with pytest.raises(StoreClosedError):
        item_ids(store)


def test_close_rolls_back_the_transaction_of_another_thread(lasting: Engine) -> None:
    store = lasting.open()
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
    with lasting.open() as store:
        assert item_ids(store) == []


def test_writers_that_wait_when_the_store_is_closed_get_an_error(lasting: Engine) -> None:
    store = lasting.open()
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
    with lasting.open() as store:
        assert item_ids(store) == []


@leaving_nothing()
def test_descriptors_and_threads_are_back_after_close(lasting: Engine) -> None:
    for round_ in range(5):
        with lasting.open() as store:
            in_threads([partial(item_ids, store)] * 6)
            with store.transaction():
                store.start_run(f"run-{round_}", "daily", {})


def test_dropped_store_gives_its_descriptors_back(lasting: Engine) -> None:
    with leaving_nothing():
        store = lasting.open()
        store.start_run("run-1", "daily", {})
        del store
    with lasting.open() as store:
        assert [run.run_id for run in store.list_runs()] == ["run-1"]
