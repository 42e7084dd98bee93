"""Telemetry: one document a run, any JSON value."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import (
    InvalidJSONError,
    InvalidTypeError,
    InvalidValueError,
    RunNotFoundError,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, assert_parity, in_thread, in_threads


def telemetry(store: StateStore, run_id: str = "run-1") -> Any:
    return store.get_telemetry(run_id)


@pytest.mark.parametrize("document", [{"durations": {"fetch": 0.5}}, {}, [], None, 1.5, "text", True], ids=repr)
def test_any_json_value_comes_back(store: StateStore, document: Any) -> None:
    store.write_telemetry("run-1", document)
    assert telemetry(store) == document
    assert store.get_telemetry("run-1") == document


def test_second_document_replaces_the_first(store: StateStore) -> None:
    store.write_telemetry("run-1", {"a": 1, "b": 2})
    store.write_telemetry("run-1", {"a": 3})
    assert telemetry(store) == {"a": 3}
    assert store.stats().telemetry == 1


def test_each_run_has_its_own(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    store.write_telemetry("run-1", 1)
    store.write_telemetry("run-2", 2)
    assert (telemetry(store, "run-1"), telemetry(store, "run-2")) == (1, 2)


def test_created_at_is_a_utc_time(lasting: Engine, store: StateStore) -> None:
    store.write_telemetry("run-1", {})
    [text] = [row["created_at"] for row in lasting.rows("telemetry")]
    assert datetime.fromisoformat(text).isoformat() == text
    assert text.endswith("+00:00")


def test_unknown_run_is_an_error_and_nothing_is_written(store: StateStore) -> None:
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.write_telemetry("run-9", {})
    assert store.stats().telemetry == 0


def test_document_that_is_no_json_leaves_the_one_before(store: StateStore) -> None:
    store.write_telemetry("run-1", {"a": 1})
    with pytest.raises(TypeError):
        store.write_telemetry("run-1", {"a": {1, 2}})
    assert telemetry(store) == {"a": 1}


def test_telemetry_of_a_finished_run_is_kept_and_may_change(store: StateStore) -> None:
    store.write_telemetry("run-1", {"a": 1})
    store.finish_run("run-1", "completed")
    assert telemetry(store) == {"a": 1}
    store.write_telemetry("run-1", {"a": 2})
    assert telemetry(store) == {"a": 2}


def test_run_without_telemetry_and_unknown_run_have_none(store: StateStore) -> None:
    assert store.get_telemetry("run-1") is None
    assert store.get_telemetry("run-9") is None


@pytest.mark.usefixtures("concurrent")
def test_document_is_read_by_a_reader_and_as_of_its_transaction(store: StateStore) -> None:
    store.write_telemetry("run-1", 1)
    with store.transaction():
        store.write_telemetry("run-1", 2)
        assert store.get_telemetry("run-1") == 2
        assert in_thread(store.get_telemetry, "run-1") == 1
    assert in_thread(store.get_telemetry, "run-1") == 2


def test_document_is_read_with_read_only(begun: Engine) -> None:
    with begun.open() as store:
        store.write_telemetry("run-1", {"a": [1]})
    with begun.open(read_only=True) as store:
        assert store.get_telemetry("run-1") == {"a": [1]}


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_document_comes_back_as_the_json_module_has_it(store: StateStore, content: Any) -> None:
    def written(store: StateStore, content: Any) -> Any:
        store.write_telemetry("run-1", content)
        return store.get_telemetry("run-1")

    assert_parity(store, content, written)


def test_run_id_that_is_no_text_is_refused(store: StateStore) -> None:
    with pytest.raises(InvalidTypeError, match=r"^get_telemetry: run_id must be a str, not int"):
        store.get_telemetry(5)  # type: ignore[arg-type]


def test_merge_puts_keys_over_those_that_are_there(store: StateStore) -> None:
    store.merge_telemetry("run-1", {"a": 1, "b": {"c": 2}})
    store.merge_telemetry("run-1", {"d": [3], "b": {"e": 4}})
    assert list(store.get_telemetry("run-1").items()) == [("a", 1), ("b", {"e": 4}), ("d", [3])]
    store.merge_telemetry("run-1", {})
    store.merge_telemetry("run-1", {"a": None, 'é"\\': float("inf")})
    assert store.get_telemetry("run-1") == {"a": None, "b": {"e": 4}, "d": [3], 'é"\\': float("inf")}
    assert store.stats().telemetry == 1


def test_merge_with_nothing_is_the_dict_itself(store: StateStore) -> None:
    store.merge_telemetry("run-1", {})
    assert store.get_telemetry("run-1") == {}


def test_merges_of_several_threads_lose_nothing(store: StateStore) -> None:
    """Reading the document, changing it and writing it back, four threads kept 59 of 400 keys."""

    def merge(thread: int) -> None:
        for number in range(100):
            store.merge_telemetry("run-1", {f"{thread}/{number}": number})

    in_threads([partial(merge, thread) for thread in range(4)])
    assert len(store.get_telemetry("run-1")) == 400


@pytest.mark.parametrize("document", [[], [{"a": 1}], None, 1.5, "text", "{}", True], ids=repr)
def test_merge_leaves_a_document_that_is_no_object(store: StateStore, document: Any) -> None:
    store.write_telemetry("run-1", document)
    message = r'^merge_telemetry "run-1": .*not a JSON object.*nothing was changed; write_telemetry replaces it'
    with pytest.raises(InvalidValueError, match=message):
        store.merge_telemetry("run-1", {"b": 2})
    with store.transaction(), pytest.raises(InvalidValueError, match=message):
        store.merge_telemetry("run-1", {"b": 2})
    assert store.get_telemetry("run-1") == document


def test_merge_that_is_refused_in_a_transaction_is_no_heartbeat(lasting: Engine, store: StateStore) -> None:
    store.write_telemetry("run-1", [])
    lasting.edit("runs", started_at="2024-03-01T00:00:00+00:00", heartbeat_at=None)
    with store.transaction(), pytest.raises(InvalidValueError, match="nothing was changed"):
        store.merge_telemetry("run-1", {"b": 2})
    assert [row["heartbeat_at"] for row in lasting.rows("runs")] == [None]


def test_merge_leaves_text_that_is_no_json(lasting: Engine, store: StateStore) -> None:
    store.write_telemetry("run-1", {})
    lasting.edit("telemetry", telemetry_json='{"a": 1')
    with pytest.raises(InvalidValueError, match="not a JSON object"):
        store.merge_telemetry("run-1", {"b": 2})
    assert [row["telemetry_json"] for row in lasting.rows("telemetry")] == ['{"a": 1']


def test_what_is_merged_is_a_dict_of_json(store: StateStore) -> None:
    store.merge_telemetry("run-1", {"a": 1})
    before = everything(store)
    wrong: Any
    for wrong in ([], None, "{}", 5, [("a", 1)]):
        with pytest.raises(InvalidTypeError, match=r'^merge_telemetry "run-1": telemetry must be a dict, not'):
            store.merge_telemetry("run-1", wrong)
    with pytest.raises(TypeError):
        store.merge_telemetry("run-1", {"a": {1, 2}})
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.merge_telemetry("run-9", {})
    assert everything(store) == before


def test_merge_in_a_transaction_is_undone_with_it(store: StateStore) -> None:
    store.merge_telemetry("run-1", {"a": 1})
    with contextlib.suppress(Boom), store.transaction():
        store.merge_telemetry("run-1", {"b": 2})
        store.merge_telemetry("run-1", {"a": 3})
        assert store.get_telemetry("run-1") == {"a": 3, "b": 2}
        raise Boom
    assert store.get_telemetry("run-1") == {"a": 1}


json_values = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=4)
keys = st.text(max_size=2) | st.integers(0, 3) | st.none() | st.sampled_from(["\ud83d", "\ud83d\ude00", '"', "\\", "é"])


@given(st.lists(st.dictionaries(keys, json_values, max_size=4), max_size=4))
def test_merges_come_to_what_dict_update_says(store: StateStore, dicts: list[dict[Any, Any]]) -> None:
    store.write_telemetry("run-1", {})
    expected: dict[str, Any] = {}
    for each in dicts:
        store.merge_telemetry("run-1", each)
        expected |= json.loads(json.dumps(each))
    found = store.get_telemetry("run-1")
    assert (found, list(found)) == (expected, list(expected))


@pytest.mark.parametrize("count", [3, 2000])
def test_documents_of_several_runs_come_by_run(store: StateStore, count: int) -> None:
    with store.transaction():
        for number in range(count):
            store.start_run(f"{number}", "daily", {})
            if number % 3:
                store.write_telemetry(f"{number}", {"number": number})
        store.write_telemetry("run-1", None)
    run_ids = ["run-1", *(f"{number}" for number in range(count)), "none", "run-1"][::-1]
    expected = {run_id: store.get_telemetry(run_id) for run_id in run_ids if run_id.isdigit() and int(run_id) % 3}
    found = store.list_telemetry(iter(run_ids))
    assert found == {**expected, "run-1": None}
    assert list(found) == ["run-1", *expected]
    assert store.list_telemetry([]) == {}


@pytest.mark.usefixtures("concurrent")
@pytest.mark.parametrize("more", [0, 1000])
def test_documents_are_read_as_of_a_transaction_in_it(store: StateStore, more: int) -> None:
    run_ids = ["run-1", *map(str, range(more))]
    store.write_telemetry("run-1", 1)
    with store.transaction():
        store.write_telemetry("run-1", 2)
        assert store.list_telemetry(run_ids) == {"run-1": 2}
        assert in_thread(store.list_telemetry, run_ids) == {"run-1": 1}


@pytest.mark.usefixtures("concurrent")
def test_documents_are_those_of_one_moment(store: StateStore) -> None:
    """Read one by one, the first would be older than the last."""
    names = [f"{number}" for number in range(600)]
    with store.transaction():
        for name in names:
            store.start_run(name, "daily", {})
            store.write_telemetry(name, 0)

    def write() -> None:
        for round_ in range(1, 6):
            with store.transaction():
                for name in names:
                    store.write_telemetry(name, round_)

    def read() -> list[int]:
        rounds = []
        for _ in range(30):
            [found] = set(store.list_telemetry(names).values())
            rounds.append(found)
        return rounds

    rounds = in_threads([write, read])[1] or []
    assert rounds == sorted(rounds)


def test_document_that_is_no_json_is_named(lasting: Engine, store: StateStore) -> None:
    store.write_telemetry("run-1", {})
    lasting.edit("telemetry", telemetry_json="no JSON")
    with pytest.raises(InvalidJSONError, match=r'^list_telemetry "run-1": telemetry_json: '):
        store.list_telemetry(["run-1"])


def test_runs_of_documents_are_an_iterable_of_text(store: StateStore) -> None:
    wrong: Any
    for wrong in (None, 5, "run-1", [5], ["run-1", None]):
        with pytest.raises(InvalidTypeError, match=r"^list_telemetry: run_ids must be a"):
            store.list_telemetry(wrong)
    with pytest.raises(InvalidTypeError, match=r"must be an iterable of str, not str$"):
        store.list_telemetry("run-1")
