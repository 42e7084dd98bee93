"""One run or one item, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import click
from orchestrator.state_store import IntelItem, StateStore
from orchestrator.state_store._cli.fields import COLOURS
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._view import scores
from orchestrator.state_store._view.text import count, cut, leaves, shown, visible
from orchestrator.state_store._view.times import duration, full_text

MOST_LEAVES = 200
"""How many values of a document are shown."""

MOST_TEXT = 4000
"""How many characters of a text are shown."""

LABEL = 18
"""How wide labels are at least; those of a document are as wide as its longest, up to a third of the terminal."""


def decisions_of(store: StateStore, run_id: str) -> list[dict[str, Any]]:
    """Return how many items of a run there are of each decision."""
    return [{"decision": each, "items": n} for each, n in store.count_intel_items_by("decision", run_id=run_id).items()]


class Lines:
    """Makes the lines of a record: labels and values, and headings, as wide as the terminal."""

    def __init__(self, out: Output) -> None:
        from orchestrator.state_store._cli.table import width, wrapped

        self.out, self.width, self._wrapped = out, min(width(), 120), wrapped

    def heading(self, text: str) -> Iterator[str]:
        """Yield a heading, with an empty line before it."""
        yield from ("", self._styled(text, bold=True))

    def pair(self, label: str, text: str, colour: str | None = None, *, column: int = LABEL) -> Iterator[str]:
        """Yield a label and a text, which may have several lines."""
        label = visible(cut(label, self.width - LABEL))
        indent = " " * (column + 2)
        first = f"{label:<{column}}  "
        lines = [part for line in text.split("\n") for part in self._wrapped(line, self.width - column - 2)] or [""]
        if len(first) > len(indent) and len(first) + len(lines[0]) > self.width:
            yield self._styled(label, dim=True)
            first = indent
        yield self._styled(first, dim=True) + self._styled(lines[0], fg=colour)
        yield from (indent + line for line in lines[1:])

    def id(self, label: str, text: str) -> Iterator[str]:
        """Yield a label and an id, in one line however long."""
        yield self._styled(f"{label:<{LABEL}}  ", dim=True) + self._styled(visible(text), bold=True)

    def text(self, label: str, text: str | None, colour: str | None = None) -> Iterator[str]:
        """Yield a stored text with its label."""
        if not text:
            return
        rest = len(text) - MOST_TEXT
        yield from self.pair(label, visible(text[:MOST_TEXT], lines=True).expandtabs(4), colour)
        if rest > 0:
            yield from self.pair("", f"... and {count(rest, 'character')}: --json has all")

    def document(self, title: str, document: Any) -> Iterator[str]:
        """Yield the values of a JSON document below a heading."""
        if document in ({}, [], None, ""):
            return
        yield from self.heading(title)
        every = leaves(document)
        first = list(islice(every, MOST_LEAVES))
        column = max(LABEL, min(self.width // 3, max(len(path) for path, _ in first)))
        for path, value in first:
            yield from self.pair(path or "-", shown(value, MOST_TEXT), column=column)
        rest = sum(1 for _ in every)
        if rest:
            yield from self.pair("", f"... and {count(rest, 'value')} more: --json has all")

    def _styled(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self.out.colours else text


def run_lines(out: Output, run: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a terminal shows of a run."""
    lines = Lines(out)
    status = "running, silent" if run["silent"] else shown(run["status"], 100)
    yield from lines.id("Run", run["run_id"])
    yield from lines.pair("Status", status, "yellow" if run["silent"] else COLOURS.get(run["status"]))
    yield from lines.pair("Type", shown(run["run_type"], MOST_TEXT))
    yield from lines.pair("Started", full_text(run["started_at"], out.now))
    if run["finished_at"]:
        yield from lines.pair("Finished", full_text(run["finished_at"], out.now))
    else:
        yield from lines.pair("Last sign of life", full_text(run["last_sign_of_life"], out.now))
    if run["seconds"] is not None:
        yield from lines.pair("Took" if run["finished_at"] else "Running for", duration(run["seconds"]))
    yield from lines.text("Notes", run["notes"])
    yield from lines.heading(f"Items  {run['items']:,}")
    yield from counted(lines, run["decisions"], run["items"])
    yield from lines.document("Telemetry", run["telemetry"])
    yield from lines.document("Settings", run["settings_snapshot_json"])


def counted(lines: Lines, decisions: Iterable[Mapping[str, Any]], all_items: int) -> Iterator[str]:
    """Yield how many items there are of each decision, and how large a part that is."""
    for each in decisions:
        name = "undecided" if each["decision"] is None else shown(each["decision"], 60)
        part = f"{each['items']:>9,}  {each['items'] / all_items:>4.0%}"
        yield from lines.pair(name, part, COLOURS.get(each["decision"] or ""))


def item_lines(out: Output, item: IntelItem) -> Iterator[str]:
    """Yield what a terminal shows of an item."""
    lines = Lines(out)
    decision = item["decision"]
    yield from lines.id("Item", item["item_id"])
    yield from lines.id("Run", item["run_id"])
    yield from lines.pair("Type", shown(item["item_type"], MOST_TEXT))
    yield from lines.pair("Recorded", full_text(item["created_at"], out.now))
    yield from lines.pair("Decision", "undecided" if decision is None else shown(decision), COLOURS.get(decision or ""))
    yield from lines.text("Reason", item["decision_reason"])
    yield from lines.text("Title", item["title"])
    yield from lines.text("Summary", item["summary"])
    if flags := scores.flags(item["risk_flags_json"]):
        yield from lines.pair("Flags", ", ".join(flags), "yellow")
    yield from lines.document("Scores", item["scores_json"])
    yield from lines.document("Claims", item["claims_json"])
    yield from lines.document("Evidence", item["evidence_json"])
    yield from lines.document("Why", item["explainability_json"])
