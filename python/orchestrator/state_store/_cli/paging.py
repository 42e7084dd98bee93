"""Reading a list page by page, up to a limit, and where to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from orchestrator.state_store import Page

T = TypeVar("T")

AT_ONCE = 500
"""How many rows a page has at most."""


class Paged(Generic[T]):
    """The rows of a list.

    Parameters
    ----------
    fetch
        Returns a page: it is given how many rows and the cursor.
    limit
        The most rows; 0 for all.
    cursor
        Where to begin.
    wanted
        Which rows count; None for all.
    at_once
        How many rows a page has at most.

    Attributes
    ----------
    next_cursor
        Where to go on, once all rows were taken; None at the end of the list.
    """

    def __init__(
        self,
        fetch: Callable[[int, str | None], Page[T]],
        limit: int,
        cursor: str | None = None,
        wanted: Callable[[T], bool] | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self._fetch, self._limit, self._wanted, self._at_once = fetch, limit, wanted, at_once
        self.next_cursor = cursor

    def __iter__(self) -> Iterator[T]:
        """Yield the rows."""
        left = self._limit
        while True:
            most = self._at_once if self._wanted or not self._limit else min(left, self._at_once)
            cursor = self.next_cursor
            page = self._fetch(most, cursor)
            rows = [(place, row) for place, row in enumerate(page, 1) if not self._wanted or self._wanted(row)]
            if self._limit and len(rows) > left:
                # The page that ends with the last row that is wanted has the cursor behind it.
                page = self._fetch(rows[left - 1][0], cursor)
                rows = rows[:left]
            self.next_cursor = page.next_cursor
            yield from (row for _, row in rows)
            left -= len(rows)
            if self.next_cursor is None or (self._limit and left <= 0):
                return
