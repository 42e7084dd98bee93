"""JSON is written and read as `json.dumps` and `json.loads` do, to the bit."""

from __future__ import annotations

import collections
import enum
import json
import math
import struct
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orchestrator.state_store import StateStore, StateStoreError

from tests.helpers import JSON_FIELDS, in_process, make_item, value
from tests.programs import deep

KINDS = (TypeError, RecursionError, ValueError)


@pytest.fixture(scope="module")
def shared() -> Iterator[StateStore]:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        yield store


def stored(store: StateStore, content: Any) -> Any:
    """Write a value and read it back."""
    store.upsert_intel_item(make_item(claims_json=content))
    return store.list_intel_items_for_run("run-1")[0]["claims_json"]


def assert_parity(store: StateStore, content: Any) -> None:
    """Check one value against the `json` module. `repr` tells apart what `==` does not: nan, -0.0, 1 and True."""
    try:
        text = json.dumps(content)
    except KINDS as error:
        kind = next(kind for kind in KINDS if isinstance(error, kind))
        with pytest.raises(kind) as caught:
            stored(store, content)
        assert isinstance(caught.value, StateStoreError)
    else:
        assert repr(stored(store, content)) == repr(json.loads(text))


any_text = st.text(st.characters(exclude_categories=()), max_size=12)
big_integers = st.integers(-(10**40), 10**40) | st.sampled_from([2**53 + 1, 2**63, 2**63 - 1, -(2**63) - 1, 2**64])
scalars = st.none() | st.booleans() | st.integers() | big_integers | st.floats() | any_text
keys = any_text | st.integers() | big_integers | st.floats() | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(st.sampled_from([1, "1", "true", "null", None, 1.5, "1.5", "NaN", math.nan]), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=1000)
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
def test_values_come_back_as_the_json_module_gives_them(shared: StateStore, content: Any) -> None:
    assert_parity(shared, content)


bad_values = st.sampled_from([b"x", {1}, object(), 1j, Decimal(1), datetime(2024, 1, 1), range(3), ...])
bad_keys = st.sampled_from([(1, 2), b"x", frozenset()])
unstorable = st.recursive(
    bad_values | st.dictionaries(bad_keys, st.none(), min_size=1, max_size=1),
    lambda inner: (
        st.tuples(scalars, inner) | st.lists(inner, min_size=1, max_size=2) | st.builds(dict, a=scalars, b=inner)
    ),
    max_leaves=3,
)


@settings(max_examples=200)
@given(unstorable)
def test_values_that_the_json_module_rejects_are_rejected_with_its_class(shared: StateStore, content: Any) -> None:
    assert_parity(shared, content)


@pytest.mark.parametrize("kind", ["list", "dict", "both", "tuple"])
def test_circular_values_are_a_value_error(shared: StateStore, kind: str) -> None:
    items: list[Any] = []
    table: dict[str, Any] = {"items": items}
    items.append({"list": items, "dict": 1, "both": table, "tuple": (items,)}[kind])
    assert_parity(shared, items)
    assert_parity(shared, {"deeper": [1, items]})


def test_value_used_twice_is_not_circular(shared: StateStore) -> None:
    inner = {"a": [1]}
    assert_parity(shared, [inner, inner, {"again": inner}])


class Text(str):
    """Prints as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "wrong"


class Whole(int):
    def __repr__(self) -> str:
        return "wrong"

    __str__ = __repr__


class Real(float):
    def __repr__(self) -> str:
        return "wrong"

    __str__ = __repr__


class Level(enum.IntEnum):
    HIGH = 3


class Colour(enum.StrEnum):
    RED = "red"


class Weight(float, enum.Enum):
    HEAVY = 2.5


class Items(list[Any]):
    pass


class Backwards(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return reversed(self)


class Reversed(dict[Any, Any]):
    def items(self) -> Any:
        return reversed(list(super().items()))


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "content",
    [
        Text("text"),
        {Text("key"): Text("text")},
        Whole(5),
        {Whole(5): Whole(2**70)},
        Real(1.5),
        Real("nan"),
        {Real(1.5): 1, Real("inf"): 2},
        Level.HIGH,
        {Level.HIGH: Level.HIGH},
        Colour.RED,
        {Colour.RED: [Colour.RED]},
        Weight.HEAVY,
        Items([1, Items()]),
        Reversed(a=1, b=2),
        collections.OrderedDict(b=1, a=2),
        collections.Counter("abca"),
        collections.defaultdict(list, a=[1]),
        Point(1, 2),
        (),
        {"z": 1, "a": 2, "m": 3},
        True,
        {True: False, False: True},
        {1: "int", 1.5: "float", "1": "text", "1.5": "text"},
        {float("nan"): 1},
        collections.UserDict(a=1),
        collections.deque([1]),
        {1: {2, 3}},
        {"a": {(1, 2): 3}},
        "\ud800",
        "a" * 1_000_000,
        ["é" * 100_000] * 3,
        list(range(10_000)),
        {str(index): index for index in range(10_000)},
        Backwards([1, 2, 3]),
        10**5000,
        {10**5000: 1},
    ],
    ids=lambda content: type(content).__name__,
)
def test_subclasses_and_unusual_values(shared: StateStore, content: Any) -> None:
    assert_parity(shared, content)


@pytest.mark.parametrize("change", ["clear", "grow", "shrink"])
@pytest.mark.parametrize("kind", [dict, list])
def test_container_that_changes_while_it_is_written(shared: StateStore, kind: type[Any], change: str) -> None:
    def changing() -> Any:
        class Changing(dict[str, Any]):
            def items(self) -> Any:
                if change == "clear":
                    outer.clear()
                elif change == "shrink":
                    outer.popitem() if isinstance(outer, dict) else outer.pop()
                elif isinstance(outer, dict):
                    outer.update((str(index), index) for index in range(1000))
                else:
                    outer.extend(range(1000))
                return [("changed", True)]

        inner = Changing(a=1)
        outer: Any = {"first": inner, "b": 1, "c": [1]} if kind is dict else [inner, 1, [1]]
        return outer

    expected = json.loads(json.dumps(changing()))
    assert repr(stored(shared, changing())) == repr(expected)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=100, max_size=200))
def test_floats_are_equal_to_the_bit(shared: StateStore, patterns: list[int]) -> None:
    floats = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in patterns]
    floats = [number for number in floats if not math.isnan(number)]
    back = stored(shared, floats)
    assert struct.pack(f"<{len(floats)}d", *floats) == struct.pack(f"<{len(back)}d", *back)


def test_all_json_columns_and_documents_go_the_same_way(store: StateStore) -> None:
    content: Any = {1: (math.inf, -0.0), None: 2**70, "\ud800": ["\0"]}
    expected = repr(json.loads(json.dumps(content)))
    store.upsert_intel_items_batch([{**make_item(), **dict.fromkeys(JSON_FIELDS, content)}])
    [item] = store.list_intel_items_for_run("run-1")
    assert {repr(dict(item)[field]) for field in JSON_FIELDS} == {expected}
    store.write_telemetry("run-1", content)
    store.start_run("run-2", "daily", content)
    for sql in (
        "SELECT telemetry_json FROM telemetry",
        "SELECT settings_snapshot_json FROM runs WHERE run_id = 'run-2'",
    ):
        assert repr(json.loads(value(store, sql))) == expected


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("stack", [256 * 1024, 8 * 1024 * 1024], ids=["256 KiB", "8 MiB"])
def test_deep_values_are_read_back_or_a_recursion_error_on_any_stack(kind: str, stack: int) -> None:
    """Native stack overflow would kill the process."""
    outcomes = in_process(deep.write_and_read, stack, kind, [1, 127, 128, 129, 500, 900, 990, 100_000, 1_000_000])
    sure = 6 if stack > 2**20 else 1
    assert outcomes[:sure] == ["equal"] * sure
    assert set(outcomes[sure:7]) <= {"equal", "NestingTooDeepError"}
    assert outcomes[7:] == ["NestingTooDeepError"] * 2
