"""The fields of runs and items: what JSON has of them, and how a table on a terminal shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from orchestrator.state_store import IntelItem, RunRecord
from orchestrator.state_store._view import scores
from orchestrator.state_store._view.runs import is_silent, last_sign_of_life, seconds_taken
from orchestrator.state_store._view.text import cut, shown, visible
from orchestrator.state_store._view.times import clock, duration, moment, short_ago, zone

MOST_IN_A_CELL = 1000
"""How much of a text is looked at for a cell: no terminal is wider."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """What a table shows: a text, a part of it that is aligned to the right, and a colour."""

    text: str
    right: str = ""
    colour: str | None = None


@dataclass(frozen=True)
class Field:
    """A field of a row.

    An id is never cut, and free text gives way first; prose is wrapped instead. Columns with `drops` are left out, the
    highest first, where there is no room for all.
    """

    name: str
    heading: str
    kind: Literal["id", "text", "prose", "word", "number", "time"] = "word"
    drops: int = 0
    cell: Callable[[Any, Row, datetime], Cell] | None = None

    def show(self, row: Row, now: datetime) -> Cell:
        """Return what a table shows of a row."""
        value = row.get(self.name)
        if self.cell:
            return self.cell(value, row, now)
        if value is None:
            return Cell("" if self.kind in ("text", "prose") else "-")
        if self.kind == "time":
            return time_cell(value, row, now)
        if self.kind == "number":
            return Cell("", scores.number(value) if isinstance(value, int | float) else shown(value, 20))
        if self.kind == "id":
            return Cell(visible(str(value)))
        return Cell(shown(value, MOST_IN_A_CELL if self.kind in ("text", "prose") else 40))

    def title(self, now: datetime) -> str:
        """Return the heading of its column."""
        return f"{self.heading} ({zone(now)})" if self.kind == "time" else self.heading


def time_cell(value: str | None, _: Row, now: datetime) -> Cell:
    """Return a stored time as local clock time and age."""
    when = moment(value)
    if when is None:
        return Cell(shown(value, 30) if value else "-")
    return Cell(clock(when, now), short_ago((now - when).total_seconds()))


COLOURS = {
    "completed": "green",
    "running": "cyan",
    "failed": "red",
    "crashed": "red",
    "partial": "yellow",
    "cancelled": "yellow",
    "promote": "green",
    "block": "red",
    "monitor": "yellow",
}


def _status(value: str, row: Row, _: datetime) -> Cell:
    if row.get("silent"):
        return Cell("silent", colour="yellow")
    return Cell(shown(value, 20), colour=COLOURS.get(value))


def _decision(value: str | None, _: Row, __: datetime) -> Cell:
    return Cell("undecided" if value is None else shown(value, 20), colour=COLOURS.get(value or ""))


def _took(value: float | None, _: Row, __: datetime) -> Cell:
    return Cell("", "-" if value is None else duration(value))


RUN_FIELDS = {
    field.name: field
    for field in (
        Field("run_id", "Run", "id"),
        Field("status", "Status", cell=_status),
        Field("run_type", "Type", drops=1),
        Field("started_at", "Started", "time"),
        Field("last_sign_of_life", "Last sign", "time"),
        Field("seconds", "Took", "number", drops=2, cell=_took),
        Field("notes", "Notes", "text"),
        Field("silent", "Silent"),
        Field("finished_at", "Finished", "time"),
        Field("heartbeat_at", "Heartbeat", "time"),
        Field("settings_snapshot_json", "Settings", "text"),
    )
}
RUN_TABLE = ("run_id", "status", "run_type", "started_at", "last_sign_of_life", "seconds", "notes")


def run_row(run: RunRecord, stale: timedelta, now: datetime) -> dict[str, Any]:
    """Return the fields of a run."""
    last = last_sign_of_life(run)
    return {
        "run_id": run.run_id,
        "run_type": run.run_type,
        "status": run.status,
        "silent": is_silent(run, stale, now),
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "heartbeat_at": run.heartbeat_at,
        "last_sign_of_life": last and last.isoformat(),
        "seconds": seconds_taken(run, now),
        "notes": run.notes,
        "settings_snapshot_json": run.settings_snapshot_json,
    }


def _total(value: Any, _: Row, __: datetime) -> Cell:
    number = scores.total(value)
    return Cell("", "-" if number is None else scores.number(number))


def _flags(value: Any, _: Row, __: datetime) -> Cell:
    return Cell(cut(", ".join(scores.flags(value)), 40))


ITEM_FIELDS = {
    field.name: field
    for field in (
        Field("item_id", "Item", "id"),
        Field("run_id", "Run", drops=3),
        Field("item_type", "Type", drops=1),
        Field("decision", "Decision", cell=_decision),
        Field("scores_json", "Score", "number", cell=_total),
        Field("risk_flags_json", "Flags", drops=2, cell=_flags),
        Field("created_at", "Recorded", "time", drops=4),
        Field("title", "Title", "text"),
        Field("summary", "Summary", "text"),
        Field("decision_reason", "Reason", "text"),
        Field("claims_json", "Claims", "text"),
        Field("evidence_json", "Evidence", "text"),
        Field("explainability_json", "Why", "text"),
    )
}
ITEM_TABLE = ("item_id", "decision", "scores_json", "item_type", "risk_flags_json", "created_at", "title")
ITEM_NAMES = tuple(IntelItem.__annotations__)
"""All fields of an item, in the order of the store."""
