# ruff: noqa: PT012 - what a block does before it fails is the point
"""decide() and decide_batch(): what was decided on items, and nothing else of them."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from orchestrator.state_store import (
    IntelItemNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    ReadOnlyError,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, in_thread, make_item, put


def decisions(store: StateStore) -> dict[str, tuple[str | None, str | None]]:
    return {item["item_id"]: (item["decision"], item["decision_reason"]) for item in store.list_intel_items()}


def test_decision_is_changed_and_nothing_else(begun: Engine) -> None:
    with begun.open() as store:
        store.upsert_intel_item(make_item("a", claims_json=[{"text": "é"}], scores_json={"x": 0.1}, decision="old"))
    begun.edit("intel_items", created_at="2020", updated_at="2021")
    with begun.open() as store:
        [before] = store.list_intel_items()
        store.decide("a", "promote", "two sources")
        assert store.get_intel_item("a") == {**before, "decision": "promote", "decision_reason": "two sources"}
    assert [row["updated_at"] for row in begun.rows("intel_items")] == ["2021"]


def test_reason_is_replaced_and_none_undoes(store: StateStore) -> None:
    put(store, "a")
    store.decide("a", "promote", "two sources")
    store.decide("a", "block")
    assert decisions(store) == {"a": ("block", None)}
    store.decide("a", None, reason="withdrawn")
    assert decisions(store) == {"a": (None, "withdrawn")}
    store.decide("a", "")
    assert store.list_intel_items(undecided=True) == []
    store.decide("a", None)
    assert decisions(store) == {"a": (None, None)}


def test_batch_decides_on_all(store: StateStore) -> None:
    put(store, "a", "b", "c", "d")
    store.decide("c", "old", "old")
    batch = {"a": "promote", "b": ("block", "withdrawn"), "c": None, "d": (None, "looked at")}
    store.decide_batch(MappingProxyType(batch))
    assert decisions(store) == {
        "a": ("promote", None),
        "b": ("block", "withdrawn"),
        "c": (None, None),
        "d": (None, "looked at"),
    }
    store.decide_batch({})
    assert store.list_intel_items(decision="promote", fields=["item_id"]) == [{"item_id": "a"}]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_batch_with_an_unknown_item_changes_nothing(store: StateStore, place: int) -> None:
    put(store, "a", "b")
    before = everything(store)
    batch = ["a", "b"]
    batch.insert(place, "unknown")
    with pytest.raises(IntelItemNotFoundError, match=r'^decide_batch: there is no item "unknown"'):
        store.decide_batch(dict.fromkeys(batch, "promote"))
    with store.transaction():
        store.decide("a", "kept")
        with pytest.raises(IntelItemNotFoundError):
            store.decide_batch(dict.fromkeys(batch, "promote"))
    assert decisions(store) == {"a": ("kept", None), "b": (None, None)}
    store.decide("a", None)
    assert everything(store) == before


def test_unknown_item_is_an_error_and_nothing_is_changed(store: StateStore) -> None:
    put(store, "a")
    before = everything(store)
    with pytest.raises(IntelItemNotFoundError, match=r'^decide "b": there is no item "b"; nothing was changed'):
        store.decide("b", "promote")
    assert everything(store) == before


@pytest.mark.usefixtures("concurrent")
def test_decision_in_a_transaction_is_seen_there_and_undone_with_it(store: StateStore) -> None:
    put(store, "a", "b")
    with pytest.raises(Boom), store.transaction():
        store.decide("a", "promote")
        store.decide_batch({"b": "block"})
        assert [item["item_id"] for item in store.list_intel_items(undecided=False)] == ["a", "b"]
        assert in_thread(store.count_intel_items, undecided=False) == 0
        raise Boom
    assert store.count_intel_items(undecided=True) == 2


def test_upsert_that_comes_later_brings_its_own_decision(store: StateStore) -> None:
    put(store, "a")
    store.decide("a", "promote", "two sources")
    store.upsert_intel_item(make_item("a", decision="monitor"))
    assert decisions(store) == {"a": ("monitor", None)}


def test_item_of_a_run_that_is_being_pruned_is_not_there(begun: Engine) -> None:
    with begun.open() as store:
        put(store, "a")
    begun.edit("runs", pruned_at="now")
    with begun.open() as store:
        with pytest.raises(IntelItemNotFoundError):
            store.decide("a", "promote")
        with pytest.raises(IntelItemNotFoundError):
            store.decide_batch({"a": "promote"})
    assert [row["decision"] for row in begun.rows("intel_items")] == [None]


def test_store_that_is_only_read_refuses(begun: Engine) -> None:
    with begun.open() as store:
        put(store, "a")
    with begun.open(read_only=True) as store:
        with pytest.raises(ReadOnlyError, match=r'^decide "a"'):
            store.decide("a", "promote")
        with pytest.raises(ReadOnlyError, match=r"^decide_batch"):
            store.decide_batch({"a": "promote"})
        assert decisions(store) == {"a": (None, None)}


@pytest.mark.parametrize("wrong", [5, b"promote", True, ["promote"]])
def test_decision_of_another_type_is_refused(store: StateStore, wrong: Any) -> None:
    put(store, "a")
    calls: list[Callable[[], object]] = [
        lambda: store.decide("a", wrong),
        lambda: store.decide("a", "promote", wrong),
        lambda: store.decide(wrong, "promote"),
        lambda: store.decide_batch({"a": wrong}),
        lambda: store.decide_batch({"a": ("promote", wrong)}),
        lambda: store.decide_batch(wrong),
    ]
    for call in calls:
        with pytest.raises(InvalidTypeError, match=r"^decide"):
            call()
    with pytest.raises(InvalidTypeError, match=r"^decide_batch: an item_id must be a str, not int"):
        store.decide_batch({5: "promote"})  # type: ignore[dict-item]
    assert decisions(store) == {"a": (None, None)}


def test_tuple_that_is_no_pair_is_refused(store: StateStore) -> None:
    put(store, "a")
    for wrong in [(), ("promote",), ("promote", "why", "when")]:
        with pytest.raises(InvalidValueError, match=r'^decide_batch: item "a"'):
            store.decide_batch({"a": wrong})  # type: ignore[dict-item]
    with pytest.raises(InvalidValueError, match="surrogate"):
        store.decide("a", "\ud800")
    assert decisions(store) == {"a": (None, None)}
