"""Where the benchmarks' files are, and what is in the large ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benches.items import MADE_UP, make_items

if TYPE_CHECKING:
    from orchestrator.state_store import StateStore

FILES = Path(__file__).resolve().parents[1] / "target"
"""Not the system's temporary folder, which may be in memory, where a sync costs nothing."""

RUNS = 30_000
SETTINGS = {"limit": 100, "sources": ["osv", "nvd", "kev"], "name": "x" * 200}


def add_runs(store: StateStore) -> None:
    """Add `RUNS` runs. Of each kind that a filter can ask for there are many, or a handful far back."""
    with store.transaction():
        for number in range(RUNS):
            run_id = f"run-{number}"
            store.start_run(run_id, "rare" if number % 100 == 7 and number < 1_000 else f"type-{number % 3}", SETTINGS)
            if number % 1_000 != 11:
                store.finish_run(run_id, "completed" if number % 5 else "failed")


def add_items(store: StateStore, runs: int) -> None:
    """Add so many runs of 10,000 items."""
    for number in range(runs):
        store.start_run(f"run-{number}", "bench", {})
        store.upsert_intel_items_batch(make_items(MADE_UP, f"run-{number}"))
        store.finish_run(f"run-{number}", "completed")
