"""Large batches, and the lock of another process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreBusyError

from tests.conformance.test_large_batches import UNUSUAL, large
from tests.helpers import Peer, item_ids
from tests.programs import plain


@pytest.mark.parametrize("kind", ["nothing", "NaN", "proxy"])
def test_lock_of_another_process_is_busy_at_the_timeout_and_not_at_twice_that(run_path: Path, kind: str) -> None:
    batch = large()
    if kind != "nothing":
        batch[600] = UNUSUAL[kind](batch[600])
    with StateStore(run_path, busy_timeout=1) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        started = time.monotonic()
        with pytest.raises(StoreBusyError):
            store.upsert_intel_items_batch(batch)
        assert 0.9 <= time.monotonic() - started < 1.9
        holder.tell()
        holder.result()
        store.upsert_intel_items_batch(batch)
        assert len(item_ids(store)) == 1000
