"""`utc_now_iso`, which programs of the predecessor import to stamp what they record beside the store."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest
from orchestrator.state_store import StateStore, utc_now_iso


def test_it_is_the_time_as_the_store_writes_it(store: StateStore) -> None:
    before = utc_now_iso()
    started_at = store.start_run("run-2", "daily", {}).started_at
    after = utc_now_iso()
    times = [datetime.fromisoformat(each) for each in (before, started_at, after)]
    assert times == sorted(times)
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
    assert all(form.fullmatch(each) for each in (before, started_at, after))


def test_it_takes_part_in_questions_of_time(store: StateStore) -> None:
    assert [run.run_id for run in store.list_runs(until=utc_now_iso())] == ["run-1"]
    assert store.list_runs(since=utc_now_iso()) == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns"])
def test_it_is_utc_wherever_the_program_runs(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert abs(datetime.now(UTC) - datetime.fromisoformat(utc_now_iso())).total_seconds() < 60
    finally:
        monkeypatch.undo()
        time.tzset()
