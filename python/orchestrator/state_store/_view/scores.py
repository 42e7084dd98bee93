"""Scores and flags of items, whatever their JSON holds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from orchestrator.state_store._view.text import leaves, shown


def scores(document: Any, most: int = 200) -> dict[str, float]:
    """Return the finite numbers of an item's scores by their path, `most` of them at most.

    >>> scores({"total": 80, "parts": {"fit": 0.5}, "why": "new"}), scores([3, "x"]), scores(True)
    ({'total': 80, 'parts.fit': 0.5}, {}, {})
    """
    numbers: dict[str, float] = {}
    for path, value in leaves(document):
        if len(numbers) == most:
            break
        if isinstance(value, int | float) and not isinstance(value, bool) and is_drawable(value):
            numbers[path] = value
    return numbers


def as_number(value: Any) -> float | None:
    """Return a value if it is a number that can be drawn, as a float; None if it is anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and is_drawable(value)
    return float(value) if is_number else None


def is_drawable(number: float) -> bool:
    """Return whether a number can be drawn: JSON has NaN, infinities and ints that no float holds."""
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def total(document: Any) -> float | None:
    """Return the number that stands for all scores: `total`, or the only one there is; None if there is none."""
    if isinstance(document, dict):
        number = document.get("total")
        if isinstance(number, int | float) and not isinstance(number, bool):
            return number if is_drawable(number) else None
    found = list(scores(document, 2).values())
    return found[0] if len(found) == 1 else None


def top(numbers: Iterable[float]) -> float:
    """Return the end of the scale on which these values of one score are drawn: 1, 10, 100, and so on.

    Each score has a scale of its own: what goes from 0 to 1 would not be seen beside what goes to 100.
    """
    largest = max((abs(number) for number in numbers), default=0)
    end = 1
    while end < largest:
        end *= 10
    return end if is_drawable(end) else largest


def number(value: float) -> str:
    """Return a number in as many digits as people read.

    >>> number(80), number(0.123456), number(12345.678), number(1e30), number(float("nan"))
    ('80', '0.123', '12,346', '1e+30', 'NaN')
    """
    if not is_drawable(value):
        return shown(value, 12)
    if abs(value) >= 1e15:
        return f"{float(value):.3g}"
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def flags(document: Any, most: int = 20) -> list[str]:
    """Return an item's risk flags as text: what is no list is one flag, and an empty one is none."""
    each = document if isinstance(document, list) else [document] if document not in ({}, None, "") else []
    return [shown(flag, 100) for flag in each[:most]]
