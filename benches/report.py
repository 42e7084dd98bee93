"""The tables, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benches.items import MADE_UP
from benches.results import Results
from benches.rivals import ALL, OURS
from benches.rows import DOCUMENT, EMPTY_FILE, LIMIT, ROWS, TARGETS, UNFILTERED, value_text

NONE = ""


def medians(results: Results, source: str = MADE_UP) -> str:
    """Return what each contender took."""
    measured = [row for row in ROWS if any(results.median(row, name, source) for name in ALL)]
    return _table(
        ("work", *ALL),
        [(row, *(_value(results, row, name, source) for name in ALL)) for row in measured],
    )


def targets(results: Results, source: str = MADE_UP, *, gate: bool = False) -> str:
    """Return what was asked for, and what came of it; for the gate also from where on it fails."""
    lines = []
    for target in TARGETS:
        times = results.times(target, source)
        if times is None:
            continue
        theirs, ours = (_value(results, target.row, name, source) for name in (target.rival, OURS))
        found = f"{times:.2f}x" if target.times >= 1 else f"{1 / times:.2f}x the time"
        verdict = "yes" if times >= target.times else "**no**"
        least = [f"{target.gate:.2f}"] if gate else []
        against = target.rival if target.rival == LIMIT else f"{target.rival}: {theirs}"
        lines.append((target.row, ours, against, str(target), found, verdict, *least))
    return _table(("work", OURS, "against", "target", "found", "met", *(["gate"] if gate else [])), lines)


def baselines(results: Results) -> str:
    """Return what is compared with, and is no contender."""
    pairs = [(row, name) for name in (DOCUMENT, EMPTY_FILE, UNFILTERED) for row in ROWS if results.median(row, name)]
    return _table(("work", "compared with", "takes"), [(row, name, _value(results, row, name)) for row, name in pairs])


def _value(results: Results, row: str, contender: str, source: str = MADE_UP) -> str:
    value = results.median(row, contender, source)
    return NONE if value is None else value_text(row, value)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(line(cells) for cells in (head, ["---"] * len(head), *lines))


def line(cells: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"
