"""Threads, and the lock of another process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.helpers import (
    TIMEOUT,
    Peer,
    item_ids,
    make_item,
)
from tests.programs import plain


def test_write_that_waits_for_another_process_is_done_when_that_lets_go(run_path: Path) -> None:
    with StateStore(run_path) as store, Peer(plain.hold, str(run_path)) as holder, ThreadPoolExecutor(1) as pool:
        assert holder.hear() == "ready"
        writing = pool.submit(store.upsert_intel_item, make_item())
        assert item_ids(store) == []
        holder.tell()
        writing.result(TIMEOUT)
        assert item_ids(store) == ["item-1"]
