"""The runs, and one run with its items."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from orchestrator.state_store import ItemFilters, RunRecord, StateStore
from orchestrator.state_store._page.asking import Answer, Asked, choice, wanted
from orchestrator.state_store._report.shapes import score_path
from orchestrator.state_store._view import runs, scores, times

MOST_RUNS = 40
MOST_ITEMS = 40
MOST_OF_A_NAME = 200
"""Longer names of scores are not offered as an order: each would be in an address."""

_MOST_SILENT = 100
SPANS = {
    "any": None,
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_FIELDS = ("item_id", "item_type", "title", "decision", "scores_json", "risk_flags_json", "created_at")


def described(run: RunRecord) -> dict[str, Any]:
    """Return a run as JSON has it, with what can be said of it now."""
    now = times.now()
    return {
        **vars(run),
        "last_sign_of_life": runs.last_sign_of_life(run),
        "is_silent": runs.is_silent(run, now=now),
        "seconds": runs.seconds_taken(run, now),
    }


def list_of_runs(store: StateStore, asked: Asked) -> Answer:
    """List runs, newest first, with counts by status, type and time."""
    since = choice(asked, "since", tuple(SPANS))
    now = times.now()
    starts = {name: now - span if span else None for name, span in SPANS.items()}
    run_type, statuses = asked.get("type"), asked.getlist("status") or None
    page = store.list_runs(
        run_type=run_type, status=statuses, since=starts[since], limit=MOST_RUNS, cursor=asked.get("cursor")
    )
    running = store.list_runs(status="running", order="oldest", limit=_MOST_SILENT)
    by_time = {
        name: store.count_runs(run_type=run_type, status=statuses, since=start) for name, start in starts.items()
    }
    data = {
        "runs": [described(run) for run in page],
        "next_cursor": page.next_cursor,
        "total": by_time[since],
        "since": since,
        "by_status": store.count_runs_by("status", run_type=run_type, since=starts[since]),
        "by_type": store.count_runs_by("run_type", status=statuses, since=starts[since]),
        "by_time": by_time,
        "silent": [run.run_id for run in running if runs.is_silent(run, now=now)],
    }
    return Answer(data, {"records": page})


def one_run(store: StateStore, asked: Asked) -> Answer:
    """Show a run, and its items: newest, oldest or best first, of one decision or of all."""
    run_id = wanted(asked, "id")
    run = runs.run_of(store, run_id)
    order = choice(asked, "order", ("newest", "oldest", "best"))
    by, decision = asked.get("by"), asked.get("decision")
    filters: ItemFilters = {"run_id": run_id, "decision": decision}
    if "undecided" in asked:
        filters = {"run_id": run_id, "undecided": True}
    page = store.list_intel_items(
        **filters,
        fields=_FIELDS,
        order="oldest" if order == "oldest" else "newest",
        order_by=score_path(by or "total") if order == "best" else None,
        limit=MOST_ITEMS,
        cursor=asked.get("cursor"),
    )
    decisions = store.count_intel_items_by("decision", run_id=run_id)
    total, telemetry, before = sum(decisions.values()), store.get_telemetry(run_id), runs.completed_before(store, run)
    found = [scores.scores(item["scores_json"], 20) for item in page]
    names = list(dict.fromkeys(name for each in found for name in each if len(name) <= MOST_OF_A_NAME))
    main = by or ("total" if "total" in names or not names else names[0])
    is_filtered = decision is not None or "undecided" in asked
    data = {
        "run": described(run),
        "telemetry": telemetry,
        "decisions": [{"decision": each, "items": number} for each, number in decisions.items()],
        "total": total,
        "matching": decisions.get(None if "undecided" in asked else decision, 0) if is_filtered else total,
        "items": page,
        "order": order,
        "next_cursor": page.next_cursor,
        "completed_before": before and before.run_id,
    }
    end = scores.top(each[main] for each in found if main in each)
    return Answer(data, {"record": run, "counts": decisions, "by": main, "scores_seen": names[:12], "end": end})
