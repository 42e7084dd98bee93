"""Values, iterators and finalizers that call the store while it looks at them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from orchestrator.state_store import StateStore, StateStoreError

from tests.helpers import assert_sound, in_threads, item_ids, make_item


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
