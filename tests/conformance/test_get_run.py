"""get_run(): the run as it is now, and its settings."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import InvalidTypeError, RunRecord, StateStore

from tests.helpers import assert_parity

numbers = itertools.count()


def test_run_is_read_as_it_is_now(store: StateStore) -> None:
    started = store.start_run("run-2", "weekly", {"limit": 10})
    assert (started.finished_at, started.notes, started.heartbeat_at) == (None, None, None)
    assert store.get_run("run-2") == started
    store.finish_run("run-2", "failed", "out of\nmemory \0 😀")
    run = store.get_run("run-2")
    assert run is not None
    assert run.finished_at is not None
    assert run == RunRecord(
        "run-2", "weekly", started.started_at, "failed", {"limit": 10}, run.finished_at, "out of\nmemory \0 😀"
    )
    assert datetime.fromisoformat(run.finished_at) >= datetime.fromisoformat(run.started_at)
    assert [run] == store.list_runs(run_type="weekly")


def test_unknown_run_is_none(store: StateStore) -> None:
    assert store.get_run("run-9") is None
    assert store.get_run("") is None
    assert store.get_run("run-1\0") is None


@pytest.mark.parametrize(("wrong", "error"), [(None, InvalidTypeError), (5, InvalidTypeError), ("\ud800", ValueError)])
def test_run_id_that_is_no_text_is_refused(store: StateStore, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^get_run: run_id"):
        store.get_run(wrong)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_settings_come_back_as_the_json_module_has_them(store: StateStore, content: Any) -> None:
    def settings(store: StateStore, content: Any) -> Any:
        name = f"run {next(numbers)}"
        store.start_run(name, "daily", content)
        run = store.get_run(name)
        assert run is not None
        return run.settings_snapshot_json

    assert_parity(store, content, settings)
