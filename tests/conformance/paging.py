"""What the tests of lists share: points in time, and lists that are read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from orchestrator.state_store import Page

Row = TypeVar("Row")

START = datetime(2026, 1, 1, tzinfo=UTC)


def time(second: float) -> str:
    """Return a time so long after the start."""
    return (START + timedelta(seconds=second)).isoformat()


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
