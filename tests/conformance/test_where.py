"""`where`: conditions on JSON, against what plain Python makes of the same documents."""

from __future__ import annotations

import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import InvalidTypeError, InvalidValueError, StateStore

from tests.conformance.conftest import Engine, examples
from tests.helpers import JSON_FIELDS, make_item

Steps = tuple[str | int, ...]
MISSING = object()
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "contains", "exists")

KEYS = ("a", "b", "total", "a.b", "", " ", '"', "\\", "]", "[0]", "é😀", "\ud800")
NUMBERS: list[int | float] = [
    0,
    -0.0,
    1,
    1.0,
    -1.5,
    80,
    80.0,
    2**53,
    2**53 + 1,
    float(2**53),
    2**63 - 1,
    2**63,
    float(2**63),
    -(2**63) - 1,
    10**30,
    1e30,
    10**400,
    1e308,
    5e-324,
    math.inf,
    -math.inf,
]
TEXTS = ("", "a", "ab", "b", "1", "true", "\0", "\n", "é", "\uffff", "😀", "\ud83d", "\ud83d\udc00x", "unverified")

scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.integers() | st.text()
operands = scalars | st.floats(allow_nan=False)
documents = st.recursive(
    scalars | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
paths: st.SearchStrategy[Steps] = st.lists(st.sampled_from(KEYS) | st.integers(0, 3), max_size=3).map(tuple)


def asked() -> st.SearchStrategy[tuple[str, Any]]:
    ordered = operands.filter(lambda value: value is not None and not isinstance(value, bool))
    several = st.lists(operands, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["=", "!=", "contains"]), operands),
        st.tuples(st.sampled_from(["<", "<=", ">", ">="]), ordered),
        st.tuples(st.just("in"), several | several.map(tuple) | several.map(set) | several.map(frozenset)),
        st.tuples(st.just("exists"), st.booleans()),
    )


def kind(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return type(value).__name__
    return "number" if isinstance(value, int | float) else "parts"


def equal(value: Any, operand: Any) -> bool:
    return kind(value) == kind(operand) != "parts" and bool(value == operand)


def holds(value: Any, operator: str, operand: Any) -> bool:
    """Decide a condition in plain Python."""
    if operator == "exists":
        return (value is not MISSING) is operand
    if value is MISSING:
        return False
    if operator in ("=", "!="):
        return equal(value, operand) == (operator == "=")
    if operator == "in":
        return any(equal(value, each) for each in operand)
    if operator == "contains":
        if isinstance(value, str):
            return isinstance(operand, str) and operand in value
        return isinstance(value, list) and any(equal(each, operand) for each in value)
    if kind(value) != kind(operand):
        return False
    return bool({"<": value < operand, "<=": value <= operand, ">": value > operand, ">=": value >= operand}[operator])


def lookup(value: Any, steps: Steps) -> Any:
    """Return what a path leads to in plain Python."""
    for step in steps:
        if isinstance(step, str):
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else MISSING
    return value


def written(steps: Steps) -> str:
    """Return the text of a path, its keys quoted where they must be, and now and then where they need not."""
    parts = []
    for step in steps:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif step and step != "total" and not set(step) & set('.[]"\\'):
            parts.append(f".{step}")
        else:
            quoted = step.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'."{quoted}"')
    return "".join(parts)


def found(store: StateStore, where: Any, run_id: str = "run-1") -> list[str]:
    """Return which items of a run a condition lets through, by each call that takes one."""
    listed = [item["item_id"] for item in store.list_intel_items(run_id=run_id, where=where, fields=["item_id"])]
    assert store.count_intel_items(run_id=run_id, where=where) == len(listed)
    gone_through = store.iter_intel_items(run_id=run_id, where=where, fields=["item_id"])
    assert [item["item_id"] for item in gone_through] == listed
    return listed


@pytest.fixture(scope="module")
def many(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    engine = new_engine()
    with engine.open(**engine.quick) as store:
        yield store


numbers = itertools.count()


@examples(700)
@given(st.lists(documents, min_size=1, max_size=4), paths, asked(), st.sampled_from(JSON_FIELDS), st.data())
def test_conditions_hold_as_in_plain_python(
    many: StateStore, contents: list[Any], path: Steps, test: tuple[str, Any], field: str, data: st.DataObject
) -> None:
    leading = [steps for each in contents for steps in all_paths(each)]
    path = data.draw(st.sampled_from(leading) | st.just(path))
    run_id = f"run {next(numbers)}"
    many.start_run(run_id, "daily", {})
    many.upsert_intel_items_batch(
        make_item(f"{run_id}, {index}", run_id, **{field: each}) for index, each in enumerate(contents)
    )
    kept = [json.loads(json.dumps(each)) for each in contents]
    expected = [f"{run_id}, {index}" for index, each in enumerate(kept) if holds(lookup(each, path), *test)]
    assert found(many, {field + written(path): test}, run_id) == expected


def all_paths(value: Any, steps: Steps = ()) -> Iterator[Steps]:
    yield steps
    if isinstance(value, dict | list):
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from all_paths(each, (*steps, step))


def test_all_conditions_must_hold(store: StateStore) -> None:
    for total, flags in itertools.product([70, 80, 90], [[], ["unverified"], ["unverified", "old"]]):
        name = f"{total} {len(flags)}"
        store.upsert_intel_item(make_item(name, scores_json={"total": total}, risk_flags_json=flags))
    where = {"scores_json.total": (">=", 80), "risk_flags_json": ("contains", "unverified")}
    assert found(store, where) == ["80 1", "80 2", "90 1", "90 2"]
    assert found(store, {**where, "risk_flags_json[1]": ("exists", False)}) == ["80 1", "90 1"]
    assert found(store, {**where, 'scores_json."total"': ("<", 90)}) == ["80 1", "80 2"]
    assert len(found(store, {})) == len(found(store, None)) == 9


class Level(IntEnum):
    """An int that prints otherwise."""

    HIGH = 80

    def __str__(self) -> str:
        return "high"

    def __repr__(self) -> str:
        return "high"


def test_operands_of_subclasses_are_what_they_hold(store: StateStore) -> None:
    class Text(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = str.__hash__

    class Huge(int):
        def __repr__(self) -> str:
            return "0"

    store.upsert_intel_item(make_item(scores_json={"n": 80, "t": "x", "big": 10**30}))
    assert found(store, {"scores_json.n": ("=", Level.HIGH)})
    assert found(store, {"scores_json.t": ["=", Text("x")]})
    assert found(store, {"scores_json.big": ("=", Huge(10**30))})


BAD_PATHS = [
    *("", "title", "scores", "$.scores_json", "scores_json.", "scores_json..a", "scores_json.a.", "scores_json[-1]"),
    *("scores_json[a]", "scores_json[01]", "scores_json[0", "scores_json[0]a", 'scores_json."a', 'scores_json."a"b'),
    *('scores_json."\\n"', "scores_json.a\\b", "scores_json]", " scores_json", "scores_json\n", "scores_json[*]"),
]


@pytest.mark.parametrize("call", ["list_intel_items", "iter_intel_items", "count_intel_items"])
@pytest.mark.parametrize("text", BAD_PATHS)
def test_path_that_is_not_understood_is_an_error(store: StateStore, call: str, text: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"^{call}: where: the path ") as caught:
        getattr(store, call)(where={text: ("=", 1)})
    assert "\n" not in str(caught.value)
    assert json.dumps(text) in str(caught.value)


@pytest.mark.parametrize(
    ("test", "error", "message"),
    [
        (("==", 1), InvalidValueError, '"=="'),
        (("IN", [1]), InvalidValueError, '"IN"'),
        (("", 1), InvalidValueError, "operator"),
        (("=", math.nan), InvalidValueError, "NaN"),
        (("in", [1, math.nan]), InvalidValueError, "NaN"),
        (("=", 1, 2), InvalidValueError, "operator, value"),
        (("exists",), InvalidValueError, "operator, value"),
        ((), InvalidValueError, "operator, value"),
        (("=", [1]), InvalidTypeError, "list"),
        (("=", {}), InvalidTypeError, "dict"),
        (("!=", b"x"), InvalidTypeError, "bytes"),
        (("contains", ["x"]), InvalidTypeError, "list"),
        (("<", None), InvalidTypeError, "NoneType"),
        ((">=", True), InvalidTypeError, "bool"),
        (("in", "abc"), InvalidTypeError, "str"),
        (("in", {"a": 1}), InvalidTypeError, "dict"),
        (("in", [[1]]), InvalidTypeError, "list"),
        (("in", 5), InvalidTypeError, "int"),
        (("exists", 1), InvalidTypeError, "int"),
        (("exists", None), InvalidTypeError, "NoneType"),
        ((5, 1), InvalidTypeError, "operator"),
        (80, InvalidTypeError, "int"),
        ("=1", InvalidTypeError, "str"),
        (None, InvalidTypeError, "NoneType"),
        ({"=": 1}, InvalidTypeError, "dict"),
    ],
    ids=repr,
)
def test_condition_that_is_not_understood_is_an_error_that_names_the_path(
    store: StateStore, test: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"^list_intel_items: where scores_json\.total: .*{re.escape(message)}"):
        store.list_intel_items(where={"scores_json.total": test})


def test_int_that_python_does_not_print_is_refused(store: StateStore) -> None:
    assert found(store, {"scores_json.n": ("<", 10**4299)}) == []
    with pytest.raises(InvalidValueError, match=r"scores_json\.n"):
        store.list_intel_items(where={"scores_json.n": ("<", 10 ** sys.get_int_max_str_digits())})


@pytest.mark.parametrize("where", [[("scores_json", ("=", 1))], "scores_json", 5, {5: ("=", 1)}, {None: ("=", 1)}])
def test_where_of_another_type_is_refused(store: StateStore, where: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"^list_intel_items: where"):
        store.list_intel_items(where=where)
