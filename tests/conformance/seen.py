"""All that a store holds, as its own calls tell it."""

from __future__ import annotations

from typing import Any

from orchestrator.state_store import StateStore


def items(store: StateStore) -> list[Any]:
    """Return all items, with the runs that they are of."""
    return list(store.list_intel_items())


def everything(store: StateStore) -> list[list[Any]]:
    """Return all runs, items and telemetry, to see that nothing has changed."""
    runs = store.list_runs()
    documents = [(run.run_id, store.get_telemetry(run.run_id)) for run in runs]
    return [list(runs), items(store), [each for each in documents if each[1] is not None]]


def assert_sound(store: StateStore) -> None:
    """Check that the store finds nothing wrong with what it holds, runs of long ago aside."""
    assert store.check(stale_after=1e10) == []
