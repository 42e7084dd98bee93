"""The calls of `StateStore` about intel items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from _typeshed import SupportsKeysAndGetItem
    from orchestrator.state_store.core import Core
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput


class IntelItems:
    """Intel items: a mixin of `StateStore`."""

    _core: Core

    def upsert_intel_item(self, item: IntelItemInput | SupportsKeysAndGetItem[str, Any]) -> None:
        """Insert an item, or update the one with this `item_id`.

        Parameters
        ----------
        item
            A dict, or anything that has `keys()` and `[]`, as the rows of databases and of pandas have; a subclass of
            dict is asked by its own `[]` and `get`. `item_id`, `run_id`, `item_type`, `title` and `summary` (str)
            are required. `claims_json`, `evidence_json`, `risk_flags_json` and `explainability_json` default to
            `[]`, `scores_json` to `{}`; each takes any JSON value. `decision` and `decision_reason` (str or None)
            default to None. Other keys are ignored. An update does not change `run_id`, `item_type` and `created_at`.

        Raises
        ------
        RunNotFoundError
            When there is no run with this `run_id`.
        RunFinishedError
            When the run with this `run_id` was recovered. A finished run accepts writes, and other runs may update
            items of a recovered run.
        MissingFieldError
            When a required key is missing.
        TypeError, ValueError, RecursionError
            When a value cannot be stored: the class that `json.dumps` raises for it.

        Examples
        --------
        >>> import sqlite3
        >>> from orchestrator.state_store import StateStore
        >>> feed = sqlite3.connect(":memory:")
        >>> feed.row_factory = sqlite3.Row
        >>> found = "SELECT 'a' AS item_id, 'run-1' AS run_id, 'note' AS item_type, 't' AS title, 's' AS summary"
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.upsert_intel_item({**dict(feed.execute(found).fetchone()), "scores_json": {"total": 5}})
        ...     store.upsert_intel_items_batch(feed.execute(found.replace("'a'", "'b'")))
        ...     [(item["item_id"], item["scores_json"]) for item in store.list_intel_items()]
        [('a', {'total': 5}), ('b', {})]
        >>> feed.close()
        """
        self._core.upsert_intel_item(item)

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | SupportsKeysAndGetItem[str, Any]]) -> None:
        """Upsert many items in one transaction: all of them are written, or none.

        Parameters
        ----------
        items
            Items as for `upsert_intel_item`. The iterable is exhausted before anything is written. If an `item_id`
            occurs twice, the last item wins.

        Raises
        ------
        RunNotFoundError, RunFinishedError, MissingFieldError, TypeError, ValueError, RecursionError
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
            When another program wrote text that is not valid JSON.
        """
        return self._core.list_intel_items_for_run(run_id)

    def get_intel_item(self, item_id: str) -> IntelItem | None:
        """Return an item, JSON decoded, or None if there is no such item.

        Parameters
        ----------
        item_id
            The item.

        Raises
        ------
        InvalidJSONError
            When another program wrote text that is not valid JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.get_intel_item("a") is None
        True
        """
        return self._core.get_intel_item(item_id)

    def decide(self, item_id: str, decision: str | None, reason: str | None = None) -> None:
        """Set an item's decision and its reason, and nothing else.

        A later upsert of the item overwrites the decision. `updated_at`, when a run last saw the item, is not changed.

        Parameters
        ----------
        item_id
            The item.
        decision
            Free text: `promote`, `monitor`, `block` ... Pass None to clear the decision.
        reason
            Free text, or None; replaces the reason before.

        Raises
        ------
        IntelItemNotFoundError
            When there is no such item.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.upsert_intel_item(
        ...         {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     )
        ...     store.decide("a", "promote", "two sources")
        ...     [item["item_id"] for item in store.list_intel_items(decision="promote")]
        ['a']
        """
        self._core.decide(item_id, decision, reason)

    def decide_batch(self, decisions: Mapping[str, str | tuple[str | None, str | None] | None]) -> None:
        """Set the decisions of several items in one transaction: all of them, or none.

        Parameters
        ----------
        decisions
            A decision for each `item_id`, or a tuple of decision and reason. Pass None to clear a decision.

        Raises
        ------
        IntelItemNotFoundError
            When there is no item with one of these ids; the message names it, and nothing is changed.

        Examples
        --------
        >>> from orchestrator.state_store import IntelItemNotFoundError, StateStore
        >>> with StateStore(":memory:") as store:
        ...     try:
        ...         store.decide_batch({"a": "promote", "b": ("block", "withdrawn"), "c": None})
        ...     except IntelItemNotFoundError as error:
        ...         print(error)
        decide_batch: there is no item "a"; nothing was changed
        """
        self._core.decide_batch(decisions)

    def delete_intel_item(self, item_id: str, *, force: bool = False) -> bool:
        """Delete an item with its decision, whichever run recorded it.

        Parameters
        ----------
        item_id
            The item.
        force
            Delete it also if the run that it belongs to was recovered.

        Returns
        -------
        bool
            Whether the item existed: it is safe to repeat the call.

        Raises
        ------
        RunFinishedError
            When the run that it belongs to was recovered, without `force`: its worker must not delete what others
            have recorded since. The item stays.
        InvalidValueError
            When a row of your own table refers to it, by a FOREIGN KEY that forbids its deletion.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.upsert_intel_item(
        ...         {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     )
        ...     store.delete_intel_item("a"), store.delete_intel_item("a"), store.count_intel_items()
        (True, False, 0)
        """
        return self._core.delete_intel_item(item_id, force)
