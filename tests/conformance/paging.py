"""What the tests of lists share: points in time, a store of many items, and lists that are read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from orchestrator.state_store import Page, StateStore

from tests.conformance.conftest import Engine

Row = TypeVar("Row")

START = datetime(2026, 1, 1, tzinfo=UTC)
RUNS = ["run-1", "run-2", "pruned"]
"""The runs of a store of many items; the last is being pruned."""


def time(second: float) -> str:
    """Return a time so long after the start."""
    return (START + timedelta(seconds=second)).isoformat()


def with_items(engine: Engine, items: list[dict[str, Any]]) -> Iterator[StateStore]:
    """Open a store with these items, as another program has recorded them."""
    with engine.open() as store:
        for run_id in RUNS:
            store.start_run(run_id, "daily", {})
    engine.add("intel_items", items)
    engine.edit("runs", {"run_id": RUNS[-1]}, pruned_at=time(0))
    with engine.open() as store:
        yield store


def optional(*values: Any) -> st.SearchStrategy[Any]:
    """Return a filter's values, or none."""
    return st.sampled_from([None, None, *values])


def in_pages(read: Callable[..., Page[Row]], limit: int, **filters: Any) -> Iterator[Row]:
    """Go through a list by pages; each but the last is full, and only the last has no cursor."""
    cursor = None
    while True:
        page = read(limit=limit, cursor=cursor, **filters)
        yield from page
        cursor = page.next_cursor
        if cursor is None:
            return
        assert len(page) == limit
