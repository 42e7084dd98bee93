"""The jinja2 environment of the page and the report: whatever a template prints is escaped, and safe to read.

Stored text comes from anywhere. `finalize` sees each value that a template prints, so no template can forget it.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from orchestrator.state_store._report import shapes
from orchestrator.state_store._view import runs, scores, text, times

TEMPLATES = Path(__file__).parent / "templates"

_STATUSES = {
    **dict.fromkeys(("completed", "succeeded", "success", "done", "ok"), "ok"),
    **dict.fromkeys(("failed", "crashed", "error", "aborted", "timeout"), "bad"),
    **dict.fromkeys(("partial", "cancelled", "canceled", "interrupted", "skipped"), "part"),
    "running": "run",
}
_DECISIONS = {
    **dict.fromkeys(("promote", "accept", "approve", "keep"), "up"),
    **dict.fromkeys(("monitor", "watch", "review", "hold"), "eye"),
    **dict.fromkeys(("block", "drop", "reject", "discard"), "stop"),
}
_OTHERS = 4
"""How many looks there are for decisions that are none of these; the word beside tells them apart."""


def environment(*folders: Path) -> Environment:
    """Return an environment with the templates of these folders, and those that are shared."""
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        age=times.age,
        ago=times.ago,
        amount=amount,
        at=at,
        count=text.count,
        cut=text.cut,
        date=lambda when: f"{times.local(when):%Y-%m-%d %H:%M:%S %Z}",
        decision_kind=decision_kind,
        duration=times.duration,
        flags=scores.flags,
        full=full,
        moment=times.moment,
        number=scores.number,
        shown=text.shown,
        status_kind=status_kind,
        weblink=weblink,
    )
    made.globals.update(
        entries=shapes.entries,
        evidence=shapes.evidence,
        last_sign_of_life=runs.last_sign_of_life,
        is_silent=is_silent,
        seconds_taken=seconds_taken,
        pairs=shapes.pairs,
        scores=scores.scores,
        segments=shapes.segments,
        share=shapes.share,
        top=scores.top,
        zone=zone,
    )
    return made


def style() -> str:
    """Return the one stylesheet of page and report."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


def _printed(value: Any) -> Any:
    """Return what is printed for a value: text without what would act on the reader's screen."""
    # Markup, a str of its own class, is what macros return: it is safe already.
    return text.visible(value, lines=True) if type(value) is str else value


@pass_context
def at(context: Context, when: Any) -> str:
    """Return the clock time of a moment, as short as it can be beside now."""
    return times.clock(when, context["now"])


@pass_context
def full(context: Context, stored: str | None) -> str:
    """Return date, clock time, zone and age of a stored time."""
    return times.full_text(stored, context["now"])


@pass_context
def is_silent(context: Context, run: Any) -> bool:
    """Return whether a run is running, but has given no sign of life for long."""
    return runs.is_silent(run, now=context["now"])


@pass_context
def seconds_taken(context: Context, run: Any) -> float | None:
    """Return how long a run took, or has taken so far."""
    return runs.seconds_taken(run, context["now"])


@pass_context
def zone(context: Context) -> str:
    """Return the name of the zone in which clock times are shown."""
    return times.zone(context["now"])


def amount(value: Any) -> str:
    """Return a value of telemetry: numbers in as many digits as people read, the rest as elsewhere."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and scores.is_drawable(value)
    return scores.number(value) if is_number else text.shown(value, 300)


def status_kind(status: str) -> str:
    """Return the look of a status: a class of the stylesheet, and a sign."""
    return _STATUSES.get(status.lower(), "other")


def decision_kind(decision: str | None) -> str:
    """Return the look of a decision: a class of the stylesheet, and a sign."""
    if decision is None:
        return "open"
    known = _DECISIONS.get(decision.lower())
    return known or f"x{zlib.crc32(decision.encode('utf-8', 'surrogatepass')) % _OTHERS}"


def weblink(value: Any) -> str | None:
    """Return a text that is the address of a web page; None for all else, `javascript:` and `data:` above all."""
    if not isinstance(value, str) or len(value) > 2000 or text.UNSAFE.search(value) or " " in value:
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in ("http", "https") and parts.netloc else None
