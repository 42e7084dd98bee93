"""start_run() and finish_run(): what is recorded, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from orchestrator.state_store import (
    InvalidTypeError,
    InvalidValueError,
    RunExistsError,
    RunNotFoundError,
    RunRecord,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, in_threads, make_item


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


def start_again(store: StateStore, run_id: str = "run-1", run_type: str = "daily") -> RunRecord:
    return store.start_run(run_id, run_type, {"again": True}, if_exists="return")


def test_run_that_is_started_again_is_returned_as_it_is(store: StateStore) -> None:
    """A step that is tried again would fail, or lose the settings of the first try."""
    new = start_again(store, "run-2")
    assert (new.status, new.settings_snapshot_json) == ("running", {"again": True})
    for end in (None, "failed"):
        if end is not None:
            store.finish_run("run-1", end, "no network")
        before = everything(store)
        again = start_again(store)
        assert again == store.get_run("run-1")
        assert (again.status, again.settings_snapshot_json) == (end or "running", {})
        assert everything(store) == before
    store.upsert_intel_item(make_item())


def test_start_again_counts_as_a_heartbeat(lasting: Engine) -> None:
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
    lasting.edit("runs", started_at="2001-01-01T00:00:00+00:00")
    with lasting.open() as store:
        assert start_again(store).heartbeat_at is not None
        assert store.recover_stale_runs(60) == []


def test_run_of_another_type_is_not_returned(store: StateStore) -> None:
    before = everything(store)
    message = r'^start_run "run-1": .*already, of run_type "daily" and not "weekly"; nothing was changed'
    with pytest.raises(RunExistsError, match=message):
        start_again(store, run_type="weekly")
    with store.transaction(), pytest.raises(RunExistsError, match=message):
        start_again(store, run_type="weekly")
    assert everything(store) == before


def test_start_again_in_a_transaction_sees_its_writes(store: StateStore) -> None:
    with contextlib.suppress(Boom), store.transaction():
        first = store.start_run("run-2", "daily", {})
        assert start_again(store, "run-2").started_at == first.started_at
        start_again(store, "run-3")
        raise Boom
    assert [run.run_id for run in store.list_runs()] == ["run-1"]


def test_of_several_that_start_a_run_one_records_it(store: StateStore) -> None:
    """Looking first and starting then, two of them find that there is none."""
    for number in range(20):
        name = f"shared-{number}"
        records = in_threads([partial(start_again, store, name)] * 4)
        assert len({record.started_at for record in records}) == 1
        assert run_row(store, name)["started_at"] == records[0].started_at


def test_what_becomes_of_a_run_that_exists_is_one_of_two(store: StateStore) -> None:
    wrong: Any
    for wrong, error in (("replace", InvalidValueError), (None, InvalidTypeError), (True, InvalidTypeError)):
        with pytest.raises(error, match=r'^start_run "run-1": if_exists must be'):
            store.start_run("run-1", "daily", {}, if_exists=wrong)
    with pytest.raises(InvalidValueError, match=r'if_exists must be "error" or "return", not "replace"$'):
        store.start_run("run-9", "daily", {}, if_exists="replace")  # type: ignore[arg-type]
    assert store.get_run("run-9") is None


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


@pytest.mark.parametrize("force", [False, True])
def test_run_is_not_finished_as_running(store: StateStore, force: bool) -> None:
    before = everything(store)
    with pytest.raises(InvalidValueError, match=r'^finish_run "run-1": status must be that of a finished run'):
        store.finish_run("run-1", "running", force=force)
    assert everything(store) == before
    with pytest.raises(InvalidValueError, match=r'^finish_run "run-2": status'), store.run("run-2", "daily", {}) as run:
        run.finish("running")
    assert [run.status for run in store.list_runs()] == ["failed", "running"]
