"""start_run() and finish_run(): what is recorded, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from orchestrator.state_store import RunExistsError, RunNotFoundError, RunRecord, StateStore

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything


def run_row(store: StateStore, run_id: str) -> dict[str, Any]:
    run = store.get_run(run_id)
    assert run is not None
    return dataclasses.asdict(run)


def assert_is_time(text: str, earliest: datetime) -> None:
    """Check that a text is a UTC time as `datetime.isoformat()` prints it, between `earliest` and now."""
    time = datetime.fromisoformat(text)
    assert time.utcoffset() is not None
    assert time.isoformat() == text
    assert text.endswith("+00:00")
    assert earliest.replace(microsecond=0) <= time <= datetime.now(UTC)


def test_start_run_returns_what_it_recorded(store: StateStore) -> None:
    earliest = datetime.now(UTC)
    settings = {"limit": 10, "sources": ["a", "b"]}
    record = store.start_run("run-2", "weekly", settings)

    assert isinstance(record, RunRecord)
    assert (record.run_id, record.run_type, record.status) == ("run-2", "weekly", "running")
    assert record.settings_snapshot_json is settings
    assert_is_time(record.started_at, earliest)

    assert run_row(store, "run-2") == {
        "run_id": "run-2",
        "run_type": "weekly",
        "started_at": record.started_at,
        "finished_at": None,
        "status": "running",
        "notes": None,
        "heartbeat_at": None,
        "settings_snapshot_json": settings,
    }


def test_run_record_cannot_be_changed(store: StateStore) -> None:
    record = store.start_run("run-2", "weekly", {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.status = "completed"  # type: ignore[misc]


def test_run_record_keeps_its_first_five_fields_in_order() -> None:
    names = [field.name for field in dataclasses.fields(RunRecord)]
    assert names[:5] == ["run_id", "run_type", "started_at", "status", "settings_snapshot_json"]
    record = RunRecord("r", "t", "now", "running", {})
    assert record == RunRecord("r", "t", "now", "running", {})


def test_second_start_of_a_run_changes_nothing(store: StateStore) -> None:
    store.finish_run("run-1", "completed", "all good")
    store.write_telemetry("run-1", {"n": 1})
    before = everything(store)
    with pytest.raises(RunExistsError, match="run-1"):
        store.start_run("run-1", "other", {"other": True})
    assert everything(store) == before


def test_start_run_with_settings_that_are_no_json_records_no_run(store: StateStore) -> None:
    before = everything(store)
    with pytest.raises(TypeError):
        store.start_run("run-2", "daily", {"when": object()})
    assert everything(store) == before
    store.start_run("run-2", "daily", {})


@pytest.mark.parametrize("settings", [None, [], 0, "text", [1, {"a": None}]], ids=repr)
def test_settings_may_be_any_json_value(store: StateStore, settings: Any) -> None:
    assert store.start_run("run-2", "daily", settings).settings_snapshot_json is settings
    assert run_row(store, "run-2")["settings_snapshot_json"] == settings


@pytest.mark.parametrize("status", ["completed", "partial", "failed", "", "çà et là"])
def test_finish_run_takes_any_status(store: StateStore, status: str) -> None:
    earliest = datetime.now(UTC)
    before = run_row(store, "run-1")
    store.finish_run("run-1", status)
    after = run_row(store, "run-1")
    assert_is_time(after["finished_at"], earliest)
    assert after["finished_at"] >= after["started_at"]
    assert after == {**before, "status": status, "finished_at": after["finished_at"]}


def test_notes_of_the_last_finish_replace_those_before(store: StateStore) -> None:
    store.finish_run("run-1", "failed", "no network")
    assert run_row(store, "run-1")["notes"] == "no network"
    store.finish_run("run-1", "partial", notes="half of it")
    assert (run_row(store, "run-1")["status"], run_row(store, "run-1")["notes"]) == ("partial", "half of it")
    store.finish_run("run-1", "completed")
    assert run_row(store, "run-1")["notes"] is None


def test_finish_of_an_unknown_run_is_an_error_not_silence(store: StateStore) -> None:
    before = everything(store)
    with pytest.raises(RunNotFoundError, match="run-9"):
        store.finish_run("run-9", "completed")
    assert everything(store) == before


def test_finish_touches_no_other_run(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    before = run_row(store, "run-2")
    store.finish_run("run-1", "completed")
    assert run_row(store, "run-2") == before


def test_runs_are_there_after_reopening(lasting: Engine) -> None:
    with lasting.open() as store:
        started_at = store.start_run("run-1", "daily", {"a": 1}).started_at
        store.finish_run("run-1", "completed", "done")
        before = run_row(store, "run-1")
    with lasting.open() as store:
        assert run_row(store, "run-1") == before
        assert [run.started_at for run in store.list_runs()] == [started_at]
