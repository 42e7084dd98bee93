"""Random sequences of calls, for hypothesis: good and bad ones, in transactions and runs, nested."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from orchestrator.state_store.testing._model import DEFAULTS, REQUIRED_FIELDS, RUN_IDS


class ItemId(str):
    """An item's id that has no prefix yet."""

    __slots__ = ()


class Item(dict[str, Any]):
    """An item whose ids have no prefix yet."""


known_ids = st.sampled_from([ItemId(name) for name in "abcd"])
run_ids = st.sampled_from(RUN_IDS)
texts = st.sampled_from(["", "t", "a\0b", "😀", "'; --"])
statuses = texts | st.just("running")
odd: list[Any] = [
    None,
    math.nan,
    -0.0,
    2**63,
    2**64,
    10**30,
    5e-324,
    "\ud800",
    {1: "a", "1": "b"},
    (1, (2,)),
    {None: {True: []}},
]
documents = st.sampled_from([{}, [], {"a": [1, {"b": 2.5}]}, math.inf, "text\0", *odd])
bad_documents = st.sampled_from([{1, 2}, [object()], b"bytes", {(1,): 2}])
item_fields = {"item_type": texts, "title": texts, "summary": texts}
optional_fields = {
    **{name: documents for name in DEFAULTS if name.endswith("_json")},
    "decision": st.none() | texts,
    "decision_reason": st.none() | texts,
    "other": st.just(object),
}
items = st.fixed_dictionaries(
    {"item_id": st.sampled_from(["a", "b", "c", "d"]), "run_id": run_ids, **item_fields}, optional=optional_fields
).map(Item)
flaws = st.sampled_from([{"title": None}, {"claims_json": {1, 2}}, {"summary": 5}, {"scores_json": {(1,): 2}}])
bad_items = st.builds(lambda item, flaw: Item({**item, **flaw}), items, flaws) | st.builds(
    lambda item, field: Item({key: item[key] for key in item if key != field}), items, st.sampled_from(REQUIRED_FIELDS)
)


def batch_with_one_bad_item(good: list[Item], bad: Item) -> list[Item]:
    """Put a bad item among good ones of a run that there is, so that one error alone is right."""
    return [*(Item({**item, "run_id": "run 1"}) for item in good), bad]


calls = st.one_of(
    st.tuples(st.just("start_run"), run_ids, texts, documents),
    st.tuples(st.sampled_from(["start_run", "start_run again"]), run_ids, texts, documents),
    st.tuples(st.sampled_from(["finish_run", "finish_run by force"]), run_ids, statuses, st.none() | texts),
    st.tuples(st.just("reopen_run"), run_ids),
    st.tuples(st.just("delete_run"), run_ids),
    st.tuples(st.just("heartbeat"), run_ids),
    st.tuples(st.sampled_from(["write_telemetry", "write_telemetry by force"]), run_ids, documents),
    st.tuples(st.just("write_telemetry"), run_ids, bad_documents),
    st.tuples(
        st.sampled_from(["merge_telemetry", "merge_telemetry by force"]),
        run_ids,
        documents.filter(lambda d: type(d) is dict),
    ),
    st.tuples(st.just("upsert_intel_item"), items),
    st.tuples(st.just("upsert_intel_item"), items),
    st.tuples(st.just("upsert_intel_item"), bad_items),
    st.tuples(st.just("upsert_intel_items_batch"), st.lists(items, max_size=5)),
    st.tuples(st.just("decide"), known_ids, st.none() | texts, st.none() | texts),
    st.tuples(st.sampled_from(["delete_intel_item", "delete_intel_item by force"]), known_ids),
    st.tuples(
        st.just("decide_batch"), st.dictionaries(known_ids, st.tuples(st.none() | texts, st.none() | texts), max_size=3)
    ),
    st.tuples(
        st.just("upsert_intel_items_batch"), st.builds(batch_with_one_bad_item, st.lists(items, max_size=2), bad_items)
    ),
)
sequences: st.SearchStrategy[list[Any]] = st.recursive(
    st.lists(calls, max_size=6),
    lambda inner: st.lists(
        calls
        | st.tuples(st.just("block"), inner, st.sampled_from(["keep", "fail"]))
        | st.tuples(st.just("run"), run_ids, inner, st.sampled_from(["keep", "fail"])),
        max_size=6,
    ),
    max_leaves=8,
)
