"""A value is refused, or comes back as `json.loads(json.dumps(value))` gives it, its keys in order."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orchestrator.state_store import InvalidJSONError, StateStore

from tests.helpers import assert_parity, make_item, plain_sqlite, stored, value

Rounds = Callable[[int, int], int]
Figure = Callable[[str], None]


@pytest.fixture(scope="module")
def shared() -> Iterator[StateStore]:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        yield store


any_text = st.text(st.characters(exclude_categories=()), max_size=12)
big_integers = st.integers(-(10**40), 10**40) | st.sampled_from([2**53 + 1, 2**63, 2**63 - 1, -(2**63) - 1, 2**64])
scalars = st.none() | st.booleans() | st.integers() | big_integers | st.floats() | any_text
keys = any_text | st.integers() | big_integers | st.floats() | st.booleans() | st.none()
twins: list[Any] = [
    1,
    "1",
    True,
    "true",
    0,
    "0",
    False,
    "false",
    None,
    "null",
    1.5,
    "1.5",
    "NaN",
    math.nan,
    -0.0,
    "-0.0",
]
"""Keys that meet once they are text, or are equal before."""

values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(st.sampled_from(twins), inner)
    ),
    max_leaves=20,
)
bad_values = st.sampled_from([b"x", {1}, object(), 1j, Decimal(1), datetime(2024, 1, 1), range(3), ...])
bad_keys = st.sampled_from([(1, 2), b"x", frozenset()])
unstorable = st.recursive(
    bad_values | st.dictionaries(bad_keys, st.none(), min_size=1, max_size=1),
    lambda inner: (
        st.tuples(scalars, inner) | st.lists(inner, min_size=1, max_size=2) | st.builds(dict, a=scalars, b=inner)
    ),
    max_leaves=3,
)


def in_a_batch(store: StateStore, content: Any) -> Any:
    """Write a value in a batch and read it back."""
    store.upsert_intel_items_batch([make_item(evidence_json=content), make_item("other")])
    return store.list_intel_items_for_run("run-1")[0]["evidence_json"]


def as_telemetry(store: StateStore, content: Any) -> Any:
    """Write a value as telemetry and read it back."""
    store.write_telemetry("run-1", content)
    return json.loads(value(store, "SELECT telemetry_json FROM telemetry"))


def as_settings(store: StateStore, content: Any) -> Any:
    """Start a run with a value for its settings and read it back."""
    run_id = f"run {next(run_numbers)}"
    store.start_run(run_id, "daily", content)
    return json.loads(value(store, "SELECT settings_snapshot_json FROM runs WHERE run_id = ?", run_id))


run_numbers = itertools.count()


@pytest.mark.parametrize("back", [stored, in_a_batch, as_telemetry, as_settings])
def test_value_that_cannot_be_read_back_is_refused(
    shared: StateStore, rounds: Rounds, figure: Figure, back: Callable[[StateStore, Any], Any]
) -> None:
    """`json.dumps` takes what a stricter reader does not: NaN, lone surrogates, deep values."""
    count = itertools.count()

    @settings(max_examples=rounds(250, 12_500))
    @given(values)
    @example({1: "a", "1": "b"})
    @example({"1": "a", 1: "b", False: "c", "false": "d", None: 0, "null": 1})
    @example([math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e22, 1e-7])
    @example([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30, -(10**30), 0, -1])
    @example(["\ud800", "\udc00", "\ud83d\ude00", "\udc00\ud800", "😀", "\0", "a\0b", '\x7f\x1f\u2028\\"/'])
    @example({"\ud800": 1, "\0": 2, "": 3})
    @example({"$serde_json::private::Number": "1"})
    @example({"$serde_json::private::RawValue": "[1]"})
    @example(10**4299)
    def check(content: Any) -> None:
        next(count)
        assert_parity(shared, content, back)

    check()
    figure(f"{next(count)} values, each refused or equal")


def test_value_that_the_json_module_rejects_is_rejected_with_its_class(shared: StateStore, rounds: Rounds) -> None:
    @settings(max_examples=rounds(200, 2000))
    @given(unstorable)
    def check(content: Any) -> None:
        assert_parity(shared, content)

    check()


def test_keys_keep_their_order_and_meet_as_they_do_in_the_json_module(
    shared: StateStore, rounds: Rounds, figure: Figure
) -> None:
    count = itertools.count()

    @settings(max_examples=rounds(300, 10_000))
    @given(st.lists(st.tuples(st.sampled_from(twins) | keys, st.integers(0, 9)), max_size=30))
    def check(pairs: list[Any]) -> None:
        next(count)
        content = dict(pairs)
        expected = json.loads(json.dumps(content))
        assert list(stored(shared, content).items()) == list(expected.items())

    check()
    figure(f"{next(count)} dicts, their keys as json has them")


def nested(depth: int) -> list[Any]:
    """Return lists in lists."""
    content: list[Any] = []
    for _ in range(depth):
        content = [content, "\t"]
    return content


@pytest.mark.parametrize(
    "content",
    [
        [None, True, False, 0, -7, 1.5, -0.0, 1e300, math.nan, math.inf, 2**63, -(10**400), "", "é", "\ud83d", "😀\0"],
        {"": {"k" * 100: []}, "a": (), "é": {}, "\ud83d": {"a": {"a": [{"a": 1}]}}},
        "\x7f\ud83d\\" * 3_000,
        nested(100),
        nested(300),
    ],
    ids=["scalars", "keys", "text", "deep", "deeper"],
)
def test_large_documents_come_back_as_well(shared: StateStore, content: Any) -> None:
    """Their text is decoded in another way than that of short ones."""
    for large in ([1] * 300, ["\t" * 3_000] * 2):
        assert_parity(shared, [*large, content, {"last": content}])


@pytest.mark.parametrize(
    "text", ["", ",", "[", '{"a" 1}', '{"a": 1, "a": 2}, 3', "tru", '"', "1 2", "0" * 9, "9" * 5_000]
)
def test_large_text_of_another_program_is_read_or_refused_as_the_json_module_does(path: Path, text: str) -> None:
    large = "[" + "1," * 300 + text + "]"
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
    plain_sqlite(path, ("UPDATE intel_items SET claims_json = ?", [large]))
    with StateStore(path) as store:
        try:
            read = json.loads(large)
        except ValueError:
            with pytest.raises(InvalidJSONError):
                store.get_intel_item("item-1")
        else:
            found = store.get_intel_item("item-1")
            assert found
            assert found["claims_json"] == read
