"""The store."""

from __future__ import annotations

from pathlib import Path

from orchestrator.state_store import StateStore

from benches.rivals import Synchronous


class Ours:
    """The store itself: no call between it and the benchmark but the settings of a run."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._store = StateStore(path, synchronous=synchronous)
        self.upsert = self._store.upsert_intel_item
        self.upsert_batch = self._store.upsert_intel_items_batch
        self.list_run = self._store.list_intel_items_for_run
        self.checkpoint = self._store.checkpoint
        self.close = self._store.close

    def start_run(self, run_id: str) -> None:
        self._store.start_run(run_id, "bench", {})
