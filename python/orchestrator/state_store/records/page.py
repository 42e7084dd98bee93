"""A page of a list, and where it ends."""

from collections.abc import Iterable
from typing import TypeVar

_T = TypeVar("_T")


class Page(list[_T]):
    """A list of at most `limit` runs or items.

    Attributes
    ----------
    next_cursor
        Pass it to the same call as `cursor` to get the next page; None on the last page.
    """

    __module__ = "orchestrator.state_store"

    next_cursor: str | None

    def __init__(self, rows: Iterable[_T] = (), next_cursor: str | None = None) -> None:
        super().__init__(rows)
        self.next_cursor = next_cursor
