from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from orchestrator.state_store import RunNotFoundError, StateStore

from tests.helpers import table, value


def telemetry(store: StateStore, run_id: str = "run-1") -> Any:
    return json.loads(value(store, "SELECT telemetry_json FROM telemetry WHERE run_id = ?", run_id))


@pytest.mark.parametrize("document", [{"durations": {"fetch": 0.5}}, {}, [], None, 1.5, "text", True], ids=repr)
def test_any_json_value_comes_back(store: StateStore, document: Any) -> None:
    store.write_telemetry("run-1", document)
    assert telemetry(store) == document


def test_second_document_replaces_the_first(store: StateStore) -> None:
    store.write_telemetry("run-1", {"a": 1, "b": 2})
    store.write_telemetry("run-1", {"a": 3})
    assert telemetry(store) == {"a": 3}
    assert value(store, "SELECT count(*) FROM telemetry") == 1


def test_each_run_has_its_own(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    store.write_telemetry("run-1", 1)
    store.write_telemetry("run-2", 2)
    assert (telemetry(store, "run-1"), telemetry(store, "run-2")) == (1, 2)


def test_created_at_is_a_utc_time(store: StateStore) -> None:
    store.write_telemetry("run-1", {})
    text = value(store, "SELECT created_at FROM telemetry")
    assert datetime.fromisoformat(text).isoformat() == text
    assert text.endswith("+00:00")


def test_unknown_run_is_an_error_and_nothing_is_written(store: StateStore) -> None:
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.write_telemetry("run-9", {})
    assert table(store, "telemetry") == []


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
