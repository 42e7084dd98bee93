"""A file and PostgreSQL come to the same: each call, and each value that is written and read."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orchestrator.state_store import StateStore, StateStoreError
from orchestrator.state_store.testing import Pair, check

from tests.faults.test_json_values import unstorable, values
from tests.helpers import JSON_ERRORS, in_thread, make_item

NUMBERS = itertools.count()

any_text = st.text(max_size=20) | st.text("\0\U0010ffff01a'\"%_\\\n", max_size=8)
texts = any_text | st.text(st.characters(exclude_categories=()), max_size=8)
"""Some have lone surrogates, which no text column takes."""


def deep(levels: int) -> Any:
    value: Any = "\0"
    for _ in range(levels):
        value = [value]
    return value


ODD = [
    *(math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308, 2**200, -(2**63) - 1, 2**64, 0.1 + 0.2),
    *("\0", "\U0010ffff", "\U0010ffff0", "\U0010ffff1\0", "\ud800", "\udfff\ud800", "a\0b", "", "\ufeff"),
    *({"\0": "\U0010ffff"}, {"b": 1, "a": 2}, {1: "a", "1": "b"}, [b"x"], "x" * 100_000),
]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore(tmp_path / "state.db", synchronous="NORMAL") as store:
        yield store


@pytest.fixture
def server(url: str) -> Iterator[StateStore]:
    with StateStore(url, synchronous="NORMAL") as store:
        yield store


def test_sequences_of_calls_come_to_the_same_call_by_call(
    file: StateStore, server: StateStore, pytestconfig: pytest.Config
) -> None:
    check(file, server, examples=3000 if pytestconfig.getoption("--full") else 100)


def test_values_are_read_as_json_writes_them(file: StateStore, server: StateStore, pytestconfig: pytest.Config) -> None:
    examples = 2500 if pytestconfig.getoption("--full") else 15
    both = Pair(file, server)
    written = 0

    @settings(max_examples=examples)
    @given(st.lists(values | unstorable, min_size=20, max_size=20))
    @example(ODD)
    def write(contents: list[Any]) -> None:
        nonlocal written
        run_id = f"run {next(NUMBERS)}"
        both.start_run(run_id, "daily", {})
        items, wanted = [], []
        for content in contents:
            item = make_item(f"{next(NUMBERS)}", run_id, claims_json=content)
            try:
                wanted.append(repr(json.loads(json.dumps(content))))
            except JSON_ERRORS as error:
                kind = next(kind for kind in JSON_ERRORS if isinstance(error, kind))
                with pytest.raises(kind):
                    both.upsert_intel_items_batch([item])
            else:
                items.append(item)
        both.upsert_intel_items_batch(items)
        assert [repr(item["claims_json"]) for item in both.list_intel_items_for_run(run_id)] == wanted
        written += len(contents)

    write()
    print(f"{written} values are equal in both engines")
    assert written >= 20 * examples


def test_value_as_deep_as_json_can_be_comes_back(
    file: StateStore, server: StateStore, request: pytest.FixtureRequest
) -> None:
    # The frames of this test come on top of what json has by itself.
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(sys.getrecursionlimit() + 20)
    both = Pair(file, server)
    both.start_run("run-1", "daily", {})

    def write() -> str:
        """Write values that leave the stack of a new thread just enough for what is called here."""
        both.upsert_intel_item(make_item(claims_json=deep(990)))
        both.write_telemetry("run-1", deep(990))
        return json.dumps([both.get_intel_item("item-1")["claims_json"], both.get_telemetry("run-1")])

    assert in_thread(write) == in_thread(lambda: json.dumps([deep(990)] * 2))
    with pytest.raises(RecursionError):
        both.write_telemetry("run-1", deep(2000))


def test_texts_come_back_from_each_column(file: StateStore, server: StateStore, pytestconfig: pytest.Config) -> None:
    both = Pair(file, server)
    columns = ("item_id", "item_type", "title", "summary", "decision", "decision_reason")

    @settings(max_examples=5000 if pytestconfig.getoption("--full") else 100)
    @given(st.lists(texts, min_size=9, max_size=9))
    @example(["\0"] * 9)
    @example(["\U0010ffff"] * 9)
    @example(["\U0010ffff0\0\U0010ffff1"] * 9)
    @example(["\ud800"] * 9)
    @example(["\\N\t\r\n\\."] * 9)
    def write(contents: list[str]) -> None:
        run_id, run_type, notes, *cells = contents
        run_id += str(next(NUMBERS))
        item = make_item(run_id=run_id, **dict(zip(columns, cells, strict=True)))
        item["item_id"] += run_id
        calls: list[tuple[str, list[Any]]] = [
            ("start_run", [run_id, run_type, {}]),
            ("upsert_intel_item", [item]),
            ("decide", [item["item_id"], cells[-1], cells[-2]]),
            ("write_telemetry", [run_id, contents]),
            ("finish_run", [run_id, cells[0] or "done", notes]),
            ("get_run", [run_id]),
            ("list_intel_items_for_run", [run_id]),
            ("get_telemetry", [run_id]),
        ]
        for name, arguments in calls:
            try:
                getattr(both, name)(*arguments)
            except StateStoreError:
                assert not all(map(is_text, contents)), name
        if all(map(is_text, contents)):
            [back] = both.list_intel_items(run_id=run_id)
            assert {**back, **item, "decision": cells[-1], "decision_reason": cells[-2]} == back
            assert (both.get_run(run_id).run_type, both.get_run(run_id).notes) == (run_type, notes)

    write()


def is_text(text: str) -> bool:
    """Say whether a column takes it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
