"""`strict`: a key that no item has is an error, where it would have been ignored."""

from __future__ import annotations

import collections
import types
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from orchestrator.state_store import InvalidTypeError, InvalidValueError, StateStore

from tests.conformance import seen
from tests.conformance.conftest import Engine
from tests.conformance.test_items_as_they_come import KINDS
from tests.helpers import item_ids, make_item


@pytest.fixture
def strict(engine: Engine) -> Iterator[StateStore]:
    """Open a strict store, with the run `run-1` in it."""
    with engine.open(strict=True) as store:
        store.start_run("run-1", "daily", {})
        yield store


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("claim_json", "claims_json"),
        ("claims", "claims_json"),
        ("scores", "scores_json"),
        ("Decision", "decision"),
        ("decision_resaon", "decision_reason"),
        ("explainabilty_json", "explainability_json"),
        ("risk-flags_json", "risk_flags_json"),
    ],
)
def test_key_that_was_misspelt_names_the_one_that_was_meant(strict: StateStore, key: str, meant: str) -> None:
    item = make_item("a", **{key: "x"})
    with pytest.raises(
        InvalidValueError, match=rf'^upsert_intel_item \("a"\): unknown key "{key}"; did you mean "{meant}"\?$'
    ):
        strict.upsert_intel_item(item)
    with pytest.raises(InvalidValueError, match=rf'item 1 \("a"\): unknown key "{key}"; did you mean "{meant}"\?$'):
        strict.upsert_intel_items_batch([make_item("b"), item])
    assert seen.items(strict) == []


def test_misspelt_key_that_is_required_is_not_called_missing(strict: StateStore) -> None:
    item = make_item("a", titel="t")
    del item["title"]
    with pytest.raises(InvalidValueError, match='unknown key "titel"; did you mean "title"'):
        strict.upsert_intel_item(item)


@pytest.mark.parametrize("key", ["url", "", "updated_at", "\udc80", "x" * 1000, 5, None, ("a", 1)], ids=repr)
def test_key_that_resembles_none_gets_the_list_of_all(strict: StateStore, key: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"unknown key [^\n]+; the keys of an item are item_id, [^\n]+$"):
        strict.upsert_intel_item({**make_item("a"), key: 1})
    assert seen.items(strict) == []


def test_what_items_have_is_taken_and_so_is_what_lists_return(strict: StateStore) -> None:
    strict.upsert_intel_item(make_item("a", claims_json=[1], decision="promote", decision_reason="r"))
    [item] = strict.list_intel_items()
    strict.upsert_intel_item({**item, "title": "again"})
    strict.upsert_intel_items_batch([{**item, "item_id": str(index)} for index in range(600)])
    assert len(item_ids(strict)) == 601
    changed = strict.get_intel_item("a")
    assert changed is not None
    assert changed["title"] == "again"


@pytest.mark.parametrize("position", [0, 300, 599])
def test_large_batch_with_an_unknown_key_writes_nothing_and_says_which(strict: StateStore, position: int) -> None:
    batch = [make_item(f"{index:03}") for index in range(600)]
    batch[position]["scors_json"] = {}
    with pytest.raises(InvalidValueError, match=rf'item {position} \("{position:03}"\): unknown key "scors_json"'):
        strict.upsert_intel_items_batch(batch)
    assert seen.items(strict) == []


@pytest.mark.parametrize(
    "wrap", [KINDS["Record"], KINDS["Lazy"], pd.Series, types.MappingProxyType, collections.OrderedDict]
)
def test_whatever_the_item_is(strict: StateStore, wrap: Any) -> None:
    strict.upsert_intel_item(wrap(make_item("a")))
    with pytest.raises(InvalidValueError, match=r'\("b"\): unknown key "claim_json"'):
        strict.upsert_intel_item(wrap(make_item("b", claim_json=[], zzz=1)))
    assert item_ids(strict) == ["a"]


def test_it_is_off_unless_it_is_asked_for(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a", claim_json=[1]))
    assert item_ids(store) == ["a"]


@pytest.mark.parametrize("wrong", [1, "yes", None], ids=repr)
def test_it_is_true_or_false(engine: Engine, wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"^strict must be a bool"):
        engine.open(strict=wrong)
