"""Recording items and listing those of a run: defaults, updates, order, batches, and what is refused."""

from __future__ import annotations

import collections
import types
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from orchestrator.state_store import MissingFieldError, RunNotFoundError, StateStore

from tests.conformance import seen
from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import ITEM_KEYS, JSON_FIELDS, REQUIRED_FIELDS, Boom, item_ids, make_item

FULL: dict[str, Any] = make_item(
    claims_json=[{"claim": "c"}],
    evidence_json=["e"],
    scores_json={"impact": 0.75},
    risk_flags_json=["r"],
    explainability_json={"why": None},
    decision="promote",
    decision_reason="high impact",
)


def only_item(store: StateStore) -> dict[str, Any]:
    [item] = store.list_intel_items_for_run("run-1")
    return dict(item)


def test_full_item_comes_back_as_a_plain_dict(store: StateStore) -> None:
    store.upsert_intel_item(FULL)
    [item] = store.list_intel_items_for_run("run-1")
    assert type(item) is dict
    assert set(item) == ITEM_KEYS
    assert item == {**FULL, "created_at": item["created_at"]}
    assert datetime.fromisoformat(item["created_at"]).isoformat() == item["created_at"]
    assert item["created_at"].endswith("+00:00")


def test_defaults_of_the_optional_keys(store: StateStore) -> None:
    store.upsert_intel_item(make_item())
    item = only_item(store)
    del item["created_at"]
    assert item == {
        **make_item(),
        "claims_json": [],
        "evidence_json": [],
        "scores_json": {},
        "risk_flags_json": [],
        "explainability_json": [],
        "decision": None,
        "decision_reason": None,
    }


def test_what_is_returned_is_the_callers_to_change(store: StateStore) -> None:
    store.upsert_intel_item(make_item())
    store.list_intel_items_for_run("run-1")[0]["claims_json"].append("mine")
    assert only_item(store)["claims_json"] == []


def test_the_given_item_is_not_changed(store: StateStore) -> None:
    item = make_item()
    store.upsert_intel_item(item)
    store.upsert_intel_items_batch([item])
    assert item == make_item()


@pytest.mark.parametrize("field", JSON_FIELDS)
@pytest.mark.parametrize("content", [None, False, 0, "", "text", [], {}, [[{"a": [1.5, None]}]]], ids=repr)
def test_json_fields_take_any_json_value_and_keep_none_apart_from_the_default(
    store: StateStore, field: str, content: Any
) -> None:
    store.upsert_intel_item(make_item(**{field: content}))
    assert only_item(store)[field] == content
    assert type(only_item(store)[field]) is type(content)


def test_update_changes_all_but_run_type_and_creation(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    store.upsert_intel_item(make_item())
    created_at = only_item(store)["created_at"]
    store.upsert_intel_item({**FULL, "run_id": "run-2", "item_type": "other", "title": "new", "summary": "newer"})
    assert only_item(store) == {**FULL, "title": "new", "summary": "newer", "created_at": created_at}
    assert item_ids(store, "run-2") == []


def test_update_without_the_optional_keys_sets_them_to_their_defaults(store: StateStore) -> None:
    store.upsert_intel_item(FULL)
    store.upsert_intel_item(make_item())
    item = only_item(store)
    assert [item[field] for field in JSON_FIELDS] == [[], [], {}, [], []]
    assert (item["decision"], item["decision_reason"]) == (None, None)


def test_item_of_an_unknown_run_is_refused(store: StateStore) -> None:
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.upsert_intel_item(make_item(run_id="run-9"))
    assert seen.items(store) == []


def test_known_item_given_with_an_unknown_run_is_refused(store: StateStore) -> None:
    store.upsert_intel_item(FULL)
    before = everything(store)
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.upsert_intel_item(make_item(run_id="run-9"))
    assert everything(store) == before


def test_other_keys_are_ignored(store: StateStore) -> None:
    item: dict[Any, Any] = {**make_item(), "created_at": "1970", "updated_at": 5, "x": object(), 7: "seven"}
    store.upsert_intel_item(item)
    assert set(only_item(store)) == ITEM_KEYS
    assert only_item(store)["created_at"] > "2000"


@pytest.mark.parametrize(
    "wrap",
    [types.MappingProxyType, collections.UserDict, collections.OrderedDict, lambda item: collections.ChainMap(item)],
)
def test_items_may_be_any_mapping(store: StateStore, wrap: Any) -> None:
    store.upsert_intel_item(wrap(make_item("a", claims_json=[1])))
    store.upsert_intel_items_batch([wrap(make_item("b"))])
    assert item_ids(store) == ["a", "b"]


@pytest.mark.parametrize("field", REQUIRED_FIELDS)
def test_missing_required_field_is_named(store: StateStore, field: str) -> None:
    item = make_item()
    del item[field]
    with pytest.raises(MissingFieldError, match=field):
        store.upsert_intel_item(item)
    with pytest.raises(MissingFieldError, match=rf"\b1\b.*{field}|{field}.*\b1\b"):
        store.upsert_intel_items_batch([make_item("a"), item])
    assert seen.items(store) == []


@pytest.mark.parametrize("item", [None, [], "text", 5, [("item_id", "a")]], ids=repr)
def test_item_that_is_no_mapping_is_a_type_error(store: StateStore, item: Any) -> None:
    with pytest.raises(TypeError):
        store.upsert_intel_item(item)
    with pytest.raises(TypeError, match=r"\b1\b"):
        store.upsert_intel_items_batch([make_item(), item])
    assert seen.items(store) == []


def test_list_is_in_the_order_first_recorded_whatever_was_updated_since(store: StateStore) -> None:
    for item_id in ("b", "a", "d"):
        store.upsert_intel_item(make_item(item_id))
    store.upsert_intel_items_batch([make_item("z"), make_item("a", title="again"), make_item("c")])
    store.upsert_intel_item(make_item("b", title="again"))
    assert item_ids(store) == ["b", "a", "d", "z", "c"]
    times = [item["created_at"] for item in store.list_intel_items_for_run("run-1")]
    assert times == sorted(times)


def test_order_of_a_large_batch_is_kept(store: StateStore) -> None:
    names = [f"{index * 7919 % 3000:04}" for index in range(3000)]
    store.upsert_intel_items_batch(make_item(name) for name in names)
    assert item_ids(store) == names


def test_runs_do_not_mix(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    store.upsert_intel_items_batch([make_item("a"), make_item("b", "run-2"), make_item("c")])
    assert (item_ids(store, "run-1"), item_ids(store, "run-2")) == (["a", "c"], ["b"])


def test_list_of_an_unknown_run_is_empty(store: StateStore) -> None:
    assert store.list_intel_items_for_run("run-9") == []


@pytest.mark.parametrize("empty", [[], (), {}, iter(())], ids=["list", "tuple", "dict", "iterator"])
def test_empty_batch_is_fine(store: StateStore, empty: Any) -> None:
    store.upsert_intel_items_batch(empty)
    assert seen.items(store) == []


def test_batch_takes_any_iterable(store: StateStore) -> None:
    items = [make_item(name) for name in "abcdef"]
    store.upsert_intel_items_batch(items[:1])
    store.upsert_intel_items_batch(tuple(items[1:2]))
    store.upsert_intel_items_batch(item for item in items[2:3])
    store.upsert_intel_items_batch({"d": items[3]}.values())
    store.upsert_intel_items_batch(map(dict, items[4:]))
    assert item_ids(store) == list("abcdef")


@pytest.mark.parametrize("batch", [None, 5, make_item], ids=["None", "int", "function"])
def test_batch_that_is_no_iterable_is_a_type_error(store: StateStore, batch: Any) -> None:
    with pytest.raises(TypeError):
        store.upsert_intel_items_batch(batch)


def test_one_item_given_as_a_batch_is_a_type_error_not_a_batch_of_keys(store: StateStore) -> None:
    with pytest.raises(TypeError, match=r"\b0\b"):
        store.upsert_intel_items_batch(make_item())  # type: ignore[arg-type]
    assert seen.items(store) == []


def test_item_given_twice_in_a_batch_the_last_wins_in_the_first_ones_place(store: StateStore) -> None:
    batch = [make_item("a", title="1", decision="block"), make_item("b"), make_item("a", title="2")]
    store.upsert_intel_items_batch(batch)
    items = store.list_intel_items_for_run("run-1")
    assert [(item["item_id"], item["title"], item["decision"]) for item in items] == [
        ("a", "2", None),
        ("b", "t", None),
    ]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (make_item("bad", run_id="run-9"), RunNotFoundError),
        (make_item("bad", claims_json={1, 2}), TypeError),
        (make_item("bad", title=None), TypeError),
        (make_item("bad", title="\ud800"), ValueError),
        ({"item_id": "bad"}, MissingFieldError),
    ],
    ids=["run", "json", "type", "surrogate", "missing"],
)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_batch_with_one_bad_item_writes_nothing_and_says_which(
    store: StateStore, bad: dict[str, Any], error: type[Exception], position: int
) -> None:
    store.upsert_intel_item(make_item("known", title="before"))
    before = everything(store)
    batch = [make_item("known", title="after"), *(make_item(str(100 + index)) for index in range(5))]
    batch.insert(position, bad)
    with pytest.raises(error, match=rf"\b{position}\b"):
        store.upsert_intel_items_batch(batch)
    assert everything(store) == before


def test_error_of_the_callers_iterator_passes_untouched_and_nothing_is_written(store: StateStore) -> None:
    error = Boom("mine")

    def items() -> Iterator[dict[str, Any]]:
        yield make_item("a")
        raise error

    with pytest.raises(Boom) as caught:
        store.upsert_intel_items_batch(items())
    assert caught.value is error
    assert seen.items(store) == []


def test_items_are_there_after_reopening(lasting: Engine) -> None:
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch([FULL, make_item("b")])
        before = store.list_intel_items_for_run("run-1")
    with lasting.open() as store:
        assert store.list_intel_items_for_run("run-1") == before
