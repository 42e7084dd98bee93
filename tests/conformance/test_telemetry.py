"""Telemetry: one document a run, any JSON value."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import (
    InvalidTypeError,
    RunNotFoundError,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.helpers import assert_parity, in_thread


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
