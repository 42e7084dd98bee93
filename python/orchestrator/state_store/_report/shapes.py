"""The figures that templates draw: bars, scales, distributions and lines, as shares of a width and a height.

A Content-Security-Policy without `unsafe-inline` forbids style attributes. So places are attributes of SVG, in percent.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from orchestrator.state_store._view import text

MOST_KEYS = 200
"""How many keys of a document, or elements of a list, are shown."""

_MOST_OF_A_VALUE = 300
_LINKS = ("url", "href", "link", "uri", "source")
"""The keys of a piece of evidence under which its address is looked for."""


def share(value: float, end: float) -> str:
    """Return how much of a scale from 0 to `end` a value takes up, in percent."""
    return f"{max(0.0, min(100.0, 100 * (abs(value) / end))):.4g}"


@dataclass(frozen=True)
class Pairs:
    """The first values of a document, by path, and how many more it has."""

    shown: list[tuple[str, Any]]
    left_out: int


def pairs(document: Any, most: int = MOST_KEYS) -> Pairs:
    """Return the values of a JSON document by path: what is inside of objects too."""
    if document is None or document == {} or document == []:
        return Pairs([], 0)
    found = text.leaves(document)
    shown = list(islice(found, most))
    return Pairs(shown, sum(1 for _ in found))


@dataclass(frozen=True)
class Entry:
    """An element of a list: a text, or the values of an object; `link` is its address."""

    words: str | None
    pairs: list[tuple[str, Any]]
    link: str | None = None


@dataclass(frozen=True)
class Entries:
    """The first elements of a list, and how many more it has."""

    shown: list[Entry] = field(default_factory=list)
    left_out: int = 0


def entries(document: Any, most: int = MOST_KEYS) -> Entries:
    """Return the elements of a list; an object or a text is the only element of one."""
    if isinstance(document, dict) and document:
        found = pairs(document, most)
        return Entries([Entry(None, found.shown)], found.left_out)
    listed = document if isinstance(document, list) else [] if document in ({}, None, "") else [document]
    return Entries([_entry(each) for each in listed[:most]], max(0, len(listed) - most))


def evidence(document: Any, most: int = MOST_KEYS) -> Entries:
    """Return pieces of evidence: texts, addresses, and objects with an address among them."""
    listed = document if isinstance(document, list) else [] if document in ({}, None, "") else [document]
    return Entries([_with_link(each) for each in listed[:most]], max(0, len(listed) - most))


def _entry(element: Any) -> Entry:
    if isinstance(element, dict | list) and element:
        return Entry(None, pairs(element, 20).shown)
    return Entry(text.shown(element, _MOST_OF_A_VALUE * 2), [])


def _with_link(element: Any) -> Entry:
    if isinstance(element, str):
        return Entry(None, [], element)
    if not isinstance(element, dict):
        return _entry(element)
    key = next((key for key in _LINKS if isinstance(element.get(key), str)), None)
    rest = pairs({name: value for name, value in islice(element.items(), MOST_KEYS) if name != key}, 20)
    return Entry(None, rest.shown, element[key] if key else None)


@dataclass(frozen=True)
class Segment:
    """A decision's part of a bar: where it begins and how long it is, in percent."""

    decision: str | None
    count: int
    start: str
    length: str
    percent: float


_ORDER = ("promote", "monitor", "block")


def segments(counts: dict[str | None, int]) -> list[Segment]:
    """Return the parts of a bar of decisions: the usual ones first, then by number, undecided last."""
    total = sum(counts.values())

    def place(decision: str | None) -> tuple[int, int]:
        if decision is None:
            return len(_ORDER) + 1, 0
        return (_ORDER.index(decision), 0) if decision in _ORDER else (len(_ORDER), -counts[decision])

    made, start = [], 0.0
    for decision in sorted(counts, key=place):
        percent = 100 * counts[decision] / total
        made.append(Segment(decision, counts[decision], f"{start:.4g}", f"{percent:.4g}", percent))
        start += percent
    return made


class Distribution:
    """How often numbers of one scale occur, in steps of a twentieth; added one by one, in bounded memory."""

    STEPS = 20

    def __init__(self, scale: Axis) -> None:
        self._scale = scale
        self.counts = [0] * self.STEPS
        self.number = 0
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a number of the scale."""
        step = int(self.STEPS * self._scale.place(value) / 100)
        self.counts[max(0, min(self.STEPS - 1, step))] += 1
        self.number += 1
        self._sum += value

    @property
    def mean(self) -> float:
        """The mean of the numbers."""
        return self._sum / self.number if self.number else 0.0


@dataclass(frozen=True)
class Axis:
    """A scale with marks at equal distances, which begins and ends with one."""

    low: float
    high: float
    marks: list[float]

    def place(self, value: float) -> float:
        """Return where a value is, in percent from the low end."""
        # By halves: a difference of two floats may be larger than any float.
        return 100 * ((value / 2 - self.low / 2) / (self.high / 2 - self.low / 2))


def axis(values: Sequence[float]) -> Axis:
    """Return a scale of round numbers that holds these values; from 0 on where they are not far from it."""
    low, high = min(values), max(values)
    if low >= 0 and low < 0.7 * high:
        low = 0.0
    elif high <= 0 and high > 0.7 * low:
        high = 0.0
    rough = (high / 4 - low / 4) or abs(high) / 4 or 0.25
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    end = sys.float_info.max
    marks = [max(-end, min(end, float(f"{step * number:.12g}"))) for number in range(first, last + 1)]
    return Axis(marks[0], marks[-1], marks)


def middle(values: Iterable[float]) -> float | None:
    """Return the median."""
    found = sorted(values)
    if not found:
        return None
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def score_path(path: str) -> str:
    """Return the path of a score as `where` and `order_by` have it, from the item on."""
    return f"scores_json{path}" if path.startswith("[") else f"scores_json.{path}"
