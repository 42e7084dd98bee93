"""The report: one HTML file that needs no network, no script and no store to be read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from markupsafe import Markup
from orchestrator.state_store import IntelItem, RunRecord, StateStore, unreadable
from orchestrator.state_store._report.rendering import environment, style
from orchestrator.state_store._report.shapes import Axis, Distribution, Segment, axis, score_path, segments
from orchestrator.state_store._view import scores, times
from orchestrator.state_store._view.runs import run_of

_FIELDS = (
    *("item_id", "item_type", "title", "summary", "decision_reason"),
    *("scores_json", "evidence_json", "risk_flags_json"),
)

MOST_GROUPS = 12
"""For how many decisions the stylesheet can filter; items of further ones are always shown."""


@dataclass(frozen=True)
class Group:
    """The items of one decision: how many there are, and those that are written, the best first."""

    decision: str | None
    count: int
    written: int
    items: Iterator[IntelItem]


def write(store: StateStore, run_id: str, file: IO[bytes], *, items: int = 1000) -> unreadable.Unreadable:
    """Write a run as one HTML file: summary, settings, telemetry, decisions and the items of each decision.

    Parameters
    ----------
    store
        The store; nothing is written to it.
    run_id
        The run.
    file
        Where the report is written to, in UTF-8, a part at a time.
    items
        The most items in it, shared out among the decisions; 0 or more. The file says how many are left out.

    Returns
    -------
    Unreadable
        The values of the run that cannot be decoded; the file names them too.

    Raises
    ------
    RunNotFoundError
        When there is no such run; nothing is written.
    """
    with unreadable.shown() as odd:
        for chunk in _joined(_chunks(store, run_id, items, odd)):
            file.write(chunk)
    return odd


def _chunks(store: StateStore, run_id: str, items: int, odd: unreadable.Unreadable) -> Iterator[str]:
    run = run_of(store, run_id)
    sheet = style()
    found = store.count_intel_items_by("decision", run_id=run_id)
    parts = segments(found) if found else []
    ends = _ends(store, run_id)
    main = _main_score(ends)
    template = environment().get_template("report.html")
    return template.generate(
        run=run,
        now=times.now(),
        kept=True,
        sheet=Markup(sheet),
        sheet_hash=base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode(),
        telemetry=store.get_telemetry(run_id),
        counts=found,
        total=sum(found.values()),
        groups=list(_groups(store, run, parts, items, main)),
        written=sum(_quotas([part.count for part in parts], items)),
        main=main,
        ends=ends,
        spread=_spread(store, run_id, main) if main else None,
        odd=odd,
    )


def _joined(chunks: Iterator[str]) -> Iterator[bytes]:
    """Yield what a template generates in parts that are worth a write."""
    waiting: list[str] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= 1 << 16:
            yield "".join(waiting).encode()
            waiting, length = [], 0
    yield "".join(waiting).encode()


def _quotas(counts: list[int], most: int) -> list[int]:
    """Share `most` out: what is smaller than an equal share is taken whole, and its rest shared among the others."""
    quotas, left = [0] * len(counts), most
    by_size = sorted(range(len(counts)), key=counts.__getitem__)
    for place, index in enumerate(by_size):
        quotas[index] = min(counts[index], left // (len(counts) - place))
        left -= quotas[index]
    return quotas


def _groups(store: StateStore, run: RunRecord, parts: list[Segment], most: int, main: str | None) -> Iterator[Group]:
    for part, quota in zip(parts, _quotas([part.count for part in parts], most), strict=True):
        filters: Any = {"undecided": True} if part.decision is None else {"decision": part.decision}
        yield Group(part.decision, part.count, quota, _items(store, run.run_id, filters, quota, main))


def _items(store: StateStore, run_id: str, filters: Any, most: int, main: str | None) -> Iterator[IntelItem]:
    order = score_path(main) if main else None
    return islice(store.iter_intel_items(run_id=run_id, fields=_FIELDS, order_by=order, **filters), most)


def _ends(store: StateStore, run_id: str) -> dict[str, float]:
    """Return the end of the scale of each score, from the first items of the run."""
    found: dict[str, list[float]] = {}
    for item in store.list_intel_items(run_id=run_id, fields=("scores_json",), limit=200):
        for path, number in scores.scores(item["scores_json"], 20).items():
            found.setdefault(path, []).append(number)
    return {path: scores.top(numbers) for path, numbers in found.items()}


def _main_score(ends: dict[str, float]) -> str | None:
    """Return the score by which items are ordered: `total`, or the first; None if there is none."""
    return "total" if "total" in ends else next(iter(ends), None)


@dataclass(frozen=True)
class Spread:
    """How one score is distributed, by decision, on one scale."""

    axis: Axis
    rows: list[tuple[str | None, Distribution]]
    highest: int


def _spread(store: StateStore, run_id: str, path: str) -> Spread | None:
    """Read one score of all items of a run."""
    values: dict[str | None, list[float]] = {}
    for item in store.iter_intel_items(run_id=run_id, fields=("decision", "scores_json")):
        found = scores.scores(item["scores_json"]).get(path)
        if found is not None:
            values.setdefault(item["decision"], []).append(float(found))
    if not values:
        return None
    scale = axis([number for numbers in values.values() for number in (min(numbers), max(numbers))])
    rows = []
    for part in segments({decision: len(numbers) for decision, numbers in values.items()}):
        spread = Distribution(scale)
        for number in values[part.decision]:
            spread.add(number)
        rows.append((part.decision, spread))
    return Spread(scale, rows, max(max(spread.counts) for _, spread in rows))
