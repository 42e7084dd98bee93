"""JSON is written and read as `json.dumps` and `json.loads` do, to the bit."""

from __future__ import annotations

import collections
import enum
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from orchestrator.state_store import StateStore

from tests.conformance.conftest import Engine
from tests.helpers import JSON_FIELDS, assert_parity, make_item, stored


@pytest.fixture(scope="module")
def shared(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    with new_engine().open() as store:
        store.start_run("run-1", "daily", {})
        yield store


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


def test_all_json_columns_and_documents_go_the_same_way(store: StateStore) -> None:
    content: Any = {1: (math.inf, -0.0), None: 2**70, "\ud800": ["\0"]}
    expected = repr(json.loads(json.dumps(content)))
    store.upsert_intel_items_batch([{**make_item(), **dict.fromkeys(JSON_FIELDS, content)}])
    [item] = store.list_intel_items_for_run("run-1")
    assert {repr(dict(item)[field]) for field in JSON_FIELDS} == {expected}
    store.write_telemetry("run-1", content)
    store.start_run("run-2", "daily", content)
    assert repr(store.get_telemetry("run-1")) == expected
    [run, _] = store.list_runs()
    assert repr(run.settings_snapshot_json) == expected
