"""A run of the predecessor, which has no heartbeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.state_store import (
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
