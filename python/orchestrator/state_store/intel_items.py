"""The calls of `StateStore` about intel items."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from orchestrator.state_store import _core
    from orchestrator.state_store.records import IntelItem, IntelItemInput

_PAGE_ITEMS = 512
"""How many items a page of `StateStore.iter_intel_items` has: about 1 MB of ordinary ones."""


class IntelItems:
    """Intel items: a mixin of `StateStore`."""

    _core: _core.Store

    def upsert_intel_item(self, item: IntelItemInput | Mapping[str, Any]) -> None:
        """Insert an item, or update the one with this `item_id`.

        Parameters
        ----------
        item
            `item_id`, `run_id`, `item_type`, `title` and `summary` (str) are required. `claims_json`,
            `evidence_json`, `risk_flags_json` and `explainability_json` default to `[]`, `scores_json` to `{}`;
            each takes any JSON value. `decision` and `decision_reason` (str or None) default to None. Other keys
            are ignored. An update leaves `run_id`, `item_type` and `created_at` as they were first recorded.

        Raises
        ------
        RunNotFoundError
            When there is no run with this `run_id`.
        MissingFieldError
            When a required key is missing.
        TypeError, ValueError, RecursionError
            When a value cannot be stored: of the class that `json.dumps` raises for it.
        """
        self._core.upsert_intel_item(item)

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | Mapping[str, Any]]) -> None:
        """Upsert many items as one: all of them are written, or none.

        Parameters
        ----------
        items
            Items as `upsert_intel_item` takes them. The iterable is exhausted before anything is written. Where
            an `item_id` comes twice, the last wins.

        Raises
        ------
        RunNotFoundError, MissingFieldError, TypeError, ValueError, RecursionError
            As `upsert_intel_item`; the message gives the index of the item.
        """
        self._core.upsert_intel_items_batch(items)

    def list_intel_items_for_run(self, run_id: str) -> list[IntelItem]:
        """Return a run's items, JSON decoded, in the order in which they were first recorded.

        Parameters
        ----------
        run_id
            The run. An unknown one has no items.

        Returns
        -------
        list of IntelItem
            Plain dicts, the oldest `created_at` first.

        Raises
        ------
        InvalidJSONError
            When another program wrote something that is no JSON.
        """
        return self._core.list_intel_items_for_run(run_id)

    def iter_intel_items(self, *, run_id: str | None = None) -> Iterator[IntelItem]:
        """Go through items, JSON decoded, in the order in which they were first recorded, in bounded memory.

        Items are read page by page, and nothing is held open in between. While others write, each item that is
        there throughout comes exactly once.

        Parameters
        ----------
        run_id
            The run whose items to go through; None for those of all runs.

        Raises
        ------
        InvalidJSONError
            When another program wrote something that is no JSON.

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
        end = None
        while True:
            page, end = self._core.page_intel_items(run_id, end, _PAGE_ITEMS)
            yield from page
            if end is None:
                return
