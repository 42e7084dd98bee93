"""The calls of `StateStore` that list and count intel items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.state_store._core import ItemSelection
from orchestrator.state_store.excerpts import excerpt
from orchestrator.state_store.late import importing, utc_bounds
from orchestrator.state_store.records.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal, Unpack

    from orchestrator.state_store.core import Core
    from orchestrator.state_store.records.filters import ItemFilters
    from orchestrator.state_store.records.item import IntelItem

_PAGE_ITEMS = 512
"""How many items a page of `StateStore.iter_intel_items` has: about 1 MB of ordinary ones."""

_RANKED_ITEMS = 500_000
"""How many items it ranks at a time, if they are ordered by a number: 12 MB."""


class ItemLists:
    """Lists of intel items: a mixin of `StateStore`."""

    _core: Core

    def list_intel_items(
        self,
        *,
        fields: Iterable[str] | None = None,
        order: Literal["oldest", "newest"] = "oldest",
        order_by: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        **filters: Unpack[ItemFilters],
    ) -> Page[IntelItem]:
        """Return items, JSON decoded, in the order in which they were first recorded, or the newest or best first.

        With a `limit` the list is a page; pass its `next_cursor` to get the next one. No read stays open between two
        pages. While others write, each item that exists all the time is returned exactly once; with `order_by`, each
        whose number does not change.

        Parameters
        ----------
        fields
            The keys of the dicts, in this order; None for all. Other columns are not decoded.
        order
            Which of them comes first: the `oldest`, or the `newest`. With `order_by`: of those with the same number.
        order_by
            A path as those of `where`, such as `scores_json.total`: the item with the largest number there comes first,
            and those with none, NaN or anything else last. No index has these numbers: each page costs a scan of all
            items that match the filters, and 24 bytes of memory for each item of the page.
        limit
            The most items, 1 or more; None for all of them.
        cursor
            The `next_cursor` of the page before, from this method with the same filters, order and `order_by` on this
            file; None for the first page. The limit and the fields may differ.
        **filters
            `run_id`, `item_type`, `decision`, `undecided`, `where`, `since` and `until`, as in `ItemFilters`. An item
            must pass all that are given.

        Returns
        -------
        Page of IntelItem
            A list. Its `next_cursor` is None on the last page.

        Raises
        ------
        InvalidValueError
            When a path, an operator or a value of `where` is invalid, or the path of `order_by`; `fields` is empty or
            has an unknown or repeated name, `decision` and `undecided` are both given, a time has no offset, the limit
            is less than 1, or the cursor was changed or belongs to another list or order.
        InvalidTypeError
            When an argument has the wrong type.
        InvalidJSONError
            When another program wrote text that is not valid JSON into a returned field.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     note = {"run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     for number in range(5):
        ...         item = {**note, "item_id": f"{number}", "scores_json": {"total": 20 * number}}
        ...         store.upsert_intel_item(item)
        ...     page = store.list_intel_items(where={"scores_json.total": (">=", 40)}, fields=["item_id"], limit=2)
        ...     rest = store.list_intel_items(where={"scores_json.total": (">=", 40)}, cursor=page.next_cursor)
        >>> page, [item["item_id"] for item in rest], rest.next_cursor
        ([{'item_id': '2'}, {'item_id': '3'}], ['4'], None)

        The best first:

        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     for item_id, total in [("a", 20), ("b", None), ("c", 60.5), ("d", 20)]:
        ...         store.upsert_intel_item({**note, "item_id": item_id, "scores_json": {"total": total}})
        ...     [item["item_id"] for item in store.list_intel_items(order_by="scores_json.total")]
        ['c', 'a', 'd', 'b']
        """
        selection = _selection("list_intel_items", filters, fields, order, order_by)
        items, next_cursor = self._core.list_intel_items(selection, limit, cursor)
        return Page(items, next_cursor)

    def iter_intel_items(
        self,
        *,
        fields: Iterable[str] | None = None,
        order: Literal["oldest", "newest"] = "oldest",
        order_by: str | None = None,
        **filters: Unpack[ItemFilters],
    ) -> Iterator[IntelItem]:
        """Iterate over items, JSON decoded, in bounded memory: as they were first recorded, the newest or best first.

        Items are read page by page, and no read stays open between pages. While others write, each item that exists all
        the time is returned exactly once; with `order_by`, each whose number does not change.

        Parameters
        ----------
        fields, order
            As of `list_intel_items`.
        order_by
            As of `list_intel_items`. The items are scanned once for each 500,000 of them, before the first is returned,
            and 24 bytes of memory are kept for each until the next scan. An item whose number changes meanwhile keeps
            its place.
        **filters
            As of `list_intel_items`. They are checked by the call itself, before the first item is read.

        Raises
        ------
        InvalidTypeError, InvalidValueError, InvalidJSONError
            As `list_intel_items`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.upsert_intel_item(
        ...         {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     )
        ...     [item["item_id"] for item in store.iter_intel_items(run_id="run-1")]
        ['a']
        """
        selection = _selection("iter_intel_items", filters, fields, order, order_by)
        return self._pages(selection) if order_by is None else self._ranked_pages(selection)

    def _pages(self, selection: ItemSelection) -> Iterator[IntelItem]:
        end = None
        while True:
            page, end = self._core.page_intel_items(selection, end, _PAGE_ITEMS)
            yield from page
            if end is None:
                return

    def _ranked_pages(self, selection: ItemSelection) -> Iterator[IntelItem]:
        ranking = None
        while ranking is None or ranking.is_more:
            ranking = self._core.rank_intel_items(selection, ranking, _RANKED_ITEMS)
            for start in range(0, len(ranking), _PAGE_ITEMS):
                yield from self._core.read_ranked_intel_items(selection, ranking, start, start + _PAGE_ITEMS)

    def count_intel_items(self, **filters: Unpack[ItemFilters]) -> int:
        """Return how many items `list_intel_items` lists with these filters.

        Without filters, or with `run_id` alone, it counts an index; with other filters it reads rows.

        Parameters
        ----------
        **filters
            As of `list_intel_items`.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            As `list_intel_items`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.count_intel_items(undecided=True)
        0
        """
        return self._core.count_intel_items(_selection("count_intel_items", filters))

    def count_intel_items_by(
        self, by: Literal["decision", "item_type", "run_id"], **filters: Unpack[ItemFilters]
    ) -> dict[str | None, int]:
        """Return how many items there are with each decision, of each type or of each run.

        Parameters
        ----------
        by
            What they are counted by: `decision`, `item_type` or `run_id`.
        **filters
            As of `list_intel_items`.

        Returns
        -------
        dict
            The numbers, the largest first, equal ones by name. Items without a decision are counted under None. What no
            item has is absent.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            When `by` is something else, and as `list_intel_items`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     note = {"run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     store.upsert_intel_items_batch({**note, "item_id": f"{number}"} for number in range(5))
        ...     store.decide_batch({"0": "promote", "1": "monitor", "2": "promote"})
        ...     store.count_intel_items_by("decision", run_id="run-1")
        {'promote': 2, None: 2, 'monitor': 1}
        """
        return self._core.count_intel_items_by(by, _selection("count_intel_items_by", filters))


def _selection(
    operation: str,
    filters: ItemFilters,
    fields: Iterable[str] | None = None,
    order: Literal["oldest", "newest"] = "oldest",
    order_by: str | None = None,
) -> ItemSelection:
    """Check the filters, fields and order of a call."""
    if filters:
        with importing():
            from orchestrator.state_store.records.filters import ItemFilters

        if unknown := filters.keys() - ItemFilters.__optional_keys__:
            raise TypeError(f"{operation}() got an unexpected keyword argument {excerpt(min(unknown))}")
    since, until = utc_bounds(operation, filters.get("since"), filters.get("until"))
    return ItemSelection(
        operation,
        filters.get("run_id"),
        filters.get("item_type"),
        filters.get("decision"),
        filters.get("undecided"),
        filters.get("where"),
        fields,
        since,
        until,
        order,
        order_by,
    )
