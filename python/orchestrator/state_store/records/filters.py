"""The filters of items."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict


class ItemFilters(TypedDict, total=False):
    r"""The filters of the calls that list and count intel items, by keyword.

    A missing filter is the same as None. An item must pass all filters that are given.

    Attributes
    ----------
    run_id
        Only items of this run. An unknown one has no items.
    item_type
        Only items of this type.
    decision
        Only items with this decision.
    undecided
        True for items without a decision, False for those with one. Not together with `decision`.
    where
        Conditions on JSON fields, all of which must hold: a path each, with an operator and a value.

        A path begins with a JSON field and continues with keys and indexes: `scores_json.total`,
        `claims_json[0].text`. A key with a dot, a bracket, a quote or a backslash in it is quoted:
        `scores_json."a.b"`, with `\"` and `\\` inside.

        `=` and `!=` take None, a bool, a number or a str; `<`, `<=`, `>` and `>=` a number or a str; `in` a list,
        tuple or set of such values; `contains` an element of an array, or a str that is part of a text; `exists` a
        bool. Numbers compare with numbers only, and exactly; text with text, by code points. A path that leads to no
        value meets only `("exists", False)`; so does text that is not valid JSON.
    since, until
        Only items first recorded at `since` or later, and before `until`: a datetime, or a str in ISO 8601, with an
        offset from UTC.

    Examples
    --------
    >>> from orchestrator.state_store import ItemFilters, StateStore
    >>> open_notes: ItemFilters = {"item_type": "note", "undecided": True}
    >>> with StateStore(":memory:") as store:
    ...     store.list_intel_items(**open_notes, limit=50), store.count_intel_items(**open_notes)
    ([], 0)
    """

    run_id: str | None
    item_type: str | None
    decision: str | None
    undecided: bool | None
    where: Mapping[str, tuple[str, Any]] | None
    since: datetime | str | None
    until: datetime | str | None


ItemFilters.__module__ = "orchestrator.state_store"
