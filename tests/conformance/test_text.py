"""Text columns take text, and nothing else. That they keep any text is in `tests/faults/test_scalars.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from orchestrator.state_store import InvalidTypeError, InvalidValueError, StateStore

from tests.conformance.seen import everything
from tests.helpers import make_item

ITEM_FIELDS = ("item_id", "run_id", "item_type", "title", "summary", "decision", "decision_reason")


def item_with(field: str) -> Callable[[StateStore, Any], object]:
    return lambda store, text: store.upsert_intel_item(make_item(**{field: text}))


FIELDS: dict[str, Callable[[StateStore, Any], object]] = {
    "run_id": lambda store, text: store.start_run(text, "daily", {}),
    "run_type": lambda store, text: store.start_run("run-2", text, {}),
    "run_id of finish_run": lambda store, text: store.finish_run(text, "completed"),
    "status": lambda store, text: store.finish_run("run-1", text),
    "notes": lambda store, text: store.finish_run("run-1", "completed", text),
    "run_id of write_telemetry": lambda store, text: store.write_telemetry(text, {}),
    "run_id of list_intel_items_for_run": lambda store, text: store.list_intel_items_for_run(text),
    **{f"{field} of an item": item_with(field) for field in ITEM_FIELDS},
}
OPTIONAL = ("notes", "decision of an item", "decision_reason of an item")


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "wrong"


def test_subclass_of_str_is_kept_as_the_text_it_is(store: StateStore) -> None:
    store.start_run(Text("run-2"), Text("daily"), {})
    store.finish_run(Text("run-2"), Text("completed"), Text("notes"))
    item = make_item("a", "run-2", decision="d")
    store.upsert_intel_item({Text(key): Text(content) for key, content in item.items()})
    [back] = store.list_intel_items_for_run(Text("run-2"))
    assert {**back, **item} == back
    assert {type(back["title"]), type(back["decision"]), type(back["item_id"])} == {str}
    run = store.get_run("run-2")
    assert run is not None
    assert (run.run_type, run.status, run.notes) == ("daily", "completed", "notes")


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d\ude00"], ids=ascii)
@pytest.mark.parametrize("field", FIELDS)
def test_lone_surrogate_is_a_value_error_that_names_the_field(store: StateStore, field: str, text: str) -> None:
    before = everything(store)
    with pytest.raises(InvalidValueError, match=field.split()[0]):
        FIELDS[field](store, text)
    assert everything(store) == before


@pytest.mark.parametrize("wrong", [None, 0, 1.5, True, b"bytes", ["list"], object()], ids=type)
@pytest.mark.parametrize("field", FIELDS)
def test_anything_but_text_is_a_type_error_that_names_the_field(store: StateStore, field: str, wrong: Any) -> None:
    if wrong is None and field in OPTIONAL:
        FIELDS[field](store, None)
        return
    before = everything(store)
    with pytest.raises(InvalidTypeError, match=field.split()[0]):
        FIELDS[field](store, wrong)
    assert everything(store) == before


def test_ids_are_told_apart_by_case_and_by_normal_form(store: StateStore) -> None:
    names = ["a", "A", "a ", " a", "e\u0301", "\u00e9", "1", "1.0", "", "\0", "a\0"]
    store.upsert_intel_items_batch(make_item(name) for name in names)
    assert [item["item_id"] for item in store.list_intel_items_for_run("run-1")] == names
    store.start_run("RUN-1", "daily", {})
    assert store.list_intel_items_for_run("RUN-1") == []
