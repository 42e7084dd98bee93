"""The life of runs that other programs wrote: without heartbeats, or wrongly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import (
    CorruptDatabaseError,
    InvalidJSONError,
    StateStore,
)

from tests import predecessor
from tests.helpers import plain_sqlite


def test_run_of_the_predecessor_lives_by_its_items(path: Path) -> None:
    plain_sqlite(path, *predecessor.file(indexes=True, journal="WAL"))
    with StateStore(path) as store:
        now = datetime.now(UTC)
        half_a_minute, day = ((now - each).isoformat() for each in (timedelta(seconds=30), timedelta(days=1)))
        plain_sqlite(
            path,
            ("UPDATE runs SET started_at = ?", [day]),
            ("UPDATE intel_items SET created_at = ?", [half_a_minute]),
            ("UPDATE telemetry SET created_at = ?", [day]),
        )
        assert store.recover_stale_runs(60) == []
        assert [run.run_id for run in store.recover_stale_runs(20)] == ["old-run"]


WRONG: dict[str, tuple[str, Any]] = {
    "settings_snapshot_json = ''": ("settings_snapshot_json", ""),
    "settings_snapshot_json = x'7b7d'": ("settings_snapshot_json", {}),
    "settings_snapshot_json = CAST(x'22c3' AS TEXT)": ("settings_snapshot_json", '"\ufffd'),
    "run_type = CAST(x'c3' AS TEXT)": ("run_type", "\ufffd"),
    "notes = x'ff'": ("notes", "\ufffd"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_recovery_returns_whatever_it_has_recovered(path: Path, wrong: str) -> None:
    """It raised after it had committed: all were recovered, and nobody learnt which."""
    with StateStore(path) as store:
        for name in "abc":
            store.start_run(name, "daily", {})
    plain_sqlite(path, f"UPDATE runs SET {wrong} WHERE run_id = 'b'")
    field, value = WRONG[wrong]
    with StateStore(path) as store:
        recovered = store.recover_stale_runs(0)
        assert [(run.run_id, run.status) for run in recovered] == [(name, "crashed") for name in "abc"]
        assert getattr(recovered[1], field) == value
        assert store.recover_stale_runs(0) == []


def test_one_run_with_a_wrong_name_keeps_no_other_from_being_recovered(path: Path) -> None:
    with StateStore(path) as store:
        for name in "abc":
            store.start_run(name, "daily", {})
    plain_sqlite(path, "UPDATE runs SET run_id = CAST(x'c3' AS TEXT) WHERE run_id = 'b'")
    with StateStore(path) as store:
        assert [run.run_id for run in store.recover_stale_runs(0)] == ["a", "\ufffd", "c"]


@pytest.mark.parametrize("wrong", ["settings_snapshot_json = ''", "notes = CAST(x'c3' AS TEXT)"])
def test_start_again_of_what_cannot_be_returned_changes_nothing(path: Path, wrong: str) -> None:
    with StateStore(path) as store:
        store.start_run("a", "daily", {})
    plain_sqlite(path, f"UPDATE runs SET started_at = '2001-01-01T00:00:00+00:00', {wrong}")
    with StateStore(path) as store:
        before = plain_sqlite(path, "SELECT started_at, heartbeat_at FROM runs")
        with pytest.raises((InvalidJSONError, CorruptDatabaseError), match=r'^start_run: run "a", (settings|notes)'):
            store.start_run("a", "daily", {}, if_exists="return")
        assert plain_sqlite(path, "SELECT started_at, heartbeat_at FROM runs") == before
