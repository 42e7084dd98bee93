"""A prune, and what only SQLite has: the lock of another process, and the index."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import (
    StateStore,
    StoreBusyError,
)

from tests.helpers import Peer
from tests.programs import plain


def test_a_lock_held_elsewhere_ends_it_at_busy_timeout(run_path: Path) -> None:
    with StateStore(run_path, busy_timeout=0.05) as store:
        store.finish_run("run-1", "completed")
        with Peer(plain.hold, str(run_path)) as holder:
            assert holder.hear() == "ready"
            with pytest.raises(StoreBusyError, match=r"prune: .*busy_timeout"):
                store.prune(keep_last=0)
            assert store.prune(keep_last=0, dry_run=True).runs == 1
            holder.tell()
            holder.result()
        assert store.prune(keep_last=0).runs == 1


def test_items_that_came_again_are_found_by_an_index(store: StateStore) -> None:
    sql = "SELECT 1 FROM intel_items WHERE run_id = 'a' AND updated_at >= 'b'"
    plan = store.connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    assert ["idx_intel_items_updated_at (run_id=? AND updated_at>?)" in row["detail"] for row in plan] == [True]
