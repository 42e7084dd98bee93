"""Two runs, compared."""

from __future__ import annotations

from typing import Any

from orchestrator.state_store import StateStore
from orchestrator.state_store._page.asking import Answer, Asked, wanted
from orchestrator.state_store._page.runs import described
from orchestrator.state_store._view.runs import (
    ABSENT,
    Change,
    Changes,
    Comparison,
    Pair,
    Pairs,
    compare_runs,
    difference,
    earlier_than,
)

MOST_READ = 10_000
"""Up to how many items of both runs together their items are compared unasked: some 3 us each."""

_MOST_SHOWN = 50


def compare(store: StateStore, asked: Asked) -> Answer:
    """Compare the run `after` with the run `before`: without it, the last completed one of its type before."""
    after, before = wanted(asked, "after"), asked.get("before")
    if before is None:
        before = earlier_than(store, after).run_id
    number = sum(store.count_intel_items(run_id=each) for each in (before, after))
    reads = number <= MOST_READ or "all" in asked
    found = compare_runs(store, before, after, most=_MOST_SHOWN, items=reads)
    totals = {decision: max(1, sum(pair)) for decision, pair in found.decisions.items()}
    return Answer(_plain(found), {"found": found, "number": number, "totals": totals})


def delta(pair: Pair) -> str:
    """Return how a value changed."""
    return ", ".join(filter(None, difference(pair.before, pair.after)))


def _plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it; what a run does not have is left out."""
    items = found.items
    return {
        "before": described(found.before),
        "after": described(found.after),
        "settings": _pairs(found.settings),
        "telemetry": _pairs(found.telemetry),
        "decisions": [
            {"decision": each, "before": before, "after": after} for each, (before, after) in found.decisions.items()
        ],
        "items": items
        and {name: _changes(getattr(items, name)) for name in ("new", "gone", "decided")}
        | {"unmatched": items.unmatched},
    }


def _pairs(pairs: Pairs) -> dict[str, Any]:
    return {"changed": pairs.changed, "same": pairs.same, "shown": [_present(pair) for pair in pairs.shown]}


def _changes(changes: Changes) -> dict[str, Any]:
    return {"count": changes.count, "shown": [_present(change) for change in changes.shown]}


def _present(sides: Pair | Change) -> dict[str, Any]:
    return {name: value for name, value in vars(sides).items() if value is not ABSENT}
