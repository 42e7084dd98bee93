"""How often each value of a column came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.state_store._core import Rows


def sorted_tally(counts: Iterable[tuple[Any, ...]]) -> dict[str | None, int]:
    """Return the values and how often each came: the most frequent first, equal ones by name, NULL behind all names."""
    named = [(None if value is None else Rows.unescape(value), int(count)) for value, count in counts]
    named.sort(key=lambda each: (-each[1], each[0] is None, (each[0] or "").encode()))
    return dict(named)
