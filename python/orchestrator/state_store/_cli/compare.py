"""`runs diff`: what differs between two runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from orchestrator.state_store import RunRecord
from orchestrator.state_store._cli.fields import COLOURS, Cell, Field, Row
from orchestrator.state_store._cli.options import Shared, limit_option, run_ids, verb
from orchestrator.state_store._cli.output import Output
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
from orchestrator.state_store._view.scores import number
from orchestrator.state_store._view.text import count, shown, visible
from orchestrator.state_store._view.times import full_text

ITEMS = {"new": "new", "gone": "gone", "decided": "decided otherwise"}


@click.command()
@verb()
@click.argument("a", metavar="A", shell_complete=run_ids)
@click.argument("b", metavar="[B]", required=False, shell_complete=run_ids)
@limit_option("rows of a kind")
@click.pass_obj
def diff(shared: Shared, a: str, b: str | None, limit: int) -> None:
    """Compare two runs.

    That is settings, telemetry, decisions, and items that are new, gone or decided otherwise: from A to B. Without
    B, from the last completed run of its type that started before A, to A. Items are the same thing if their ids
    are the same behind the run's id: run-1/click and run-2/click.
    """
    out = Output(shared)
    with shared.open() as store:
        if b is None:
            a, b = earlier_than(store, a).run_id, a
        found = compare_runs(store, a, b, most=limit or 10**9)
    if out.form == "json":
        out.record(_document(found), "", lambda: ())
    elif out.draws:
        out.lines(_lines(out, found))
    else:
        only_items = out.form == "ids"
        out.rows(_FIELDS, (row for row in _rows(found) if not only_items or row["section"] in ITEMS))
    for name, left in _left_out(found):
        if left:
            out.remark(f"{left:,} more under {name!r}: --limit 0 has all")


def _changed(pairs: Pairs) -> list[Pair]:
    return [pair for pair in pairs.shown if pair.changed]


def _documents(found: Comparison) -> dict[str, Pairs]:
    return {"settings": found.settings, "telemetry": found.telemetry}


def _items(found: Comparison) -> dict[str, Changes]:
    assert found.items
    return {name: getattr(found.items, name) for name in ITEMS}


def _left_out(found: Comparison) -> Iterator[tuple[str, int]]:
    for name, pairs in _documents(found).items():
        yield name, pairs.changed - len(_changed(pairs))
    for name, changes in _items(found).items():
        yield name, changes.count - len(changes.shown)


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not ABSENT}


def _document(found: Comparison) -> dict[str, Any]:
    assert found.items
    document: dict[str, Any] = {"before": found.before.run_id, "after": found.after.run_id}
    for name, pairs in _documents(found).items():
        changed = [_present(path=pair.path, before=pair.before, after=pair.after) for pair in _changed(pairs)]
        document[name] = {"changed": pairs.changed, "same": pairs.same, "shown": changed}
    document["decisions"] = [
        {"decision": each, "before": before, "after": after} for each, (before, after) in found.decisions.items()
    ]
    for name, changes in _items(found).items():
        document[name] = {"count": changes.count, "shown": [_present(**vars(change)) for change in changes.shown]}
    return document | {"unmatched": found.items.unmatched}


def _rows(found: Comparison) -> Iterator[Row]:
    for name, pairs in _documents(found).items():
        for pair in _changed(pairs):
            yield {"section": name, "name": pair.path, **_present(before=pair.before, after=pair.after)}
    for decision, (before, after) in found.decisions.items():
        yield {"section": "decisions", "name": decision, "before": before, "after": after}
    for name, changes in _items(found).items():
        for change in changes.shown:
            both = _present(before=change.before, after=change.after)
            yield {"section": name, "name": change.item_id, **both, "title": change.title}


_FIELDS = (Field("section", ""), Field("name", "", "id"), Field("before", ""), Field("after", ""), Field("title", ""))


def _lines(out: Output, found: Comparison) -> Iterator[str]:
    """Yield what a terminal shows."""
    from orchestrator.state_store._cli.show import Lines
    from orchestrator.state_store._cli.table import table

    assert found.items
    lines = Lines(out)
    for label, run in (("From", found.before), ("To", found.after)):
        yield from lines.id(label, run.run_id)
        yield from lines.pair("", _described(run, out))
    for name, pairs in _documents(found).items():
        yield from lines.heading(f"{name.title()}  {pairs.changed:,} changed, {pairs.same:,} the same")
        rows = [{"name": pair.path or "-", "before": pair.before, "after": pair.after} for pair in _changed(pairs)]
        yield from table(_VALUES, rows, out.now, out.colours)
    yield from lines.heading("Decisions")
    counts = [{"name": each, "before": a, "after": b} for each, (a, b) in found.decisions.items()]
    yield from table(_COUNTS, counts, out.now, out.colours)
    each = [f"{changes.count:,} {ITEMS[name]}" for name, changes in _items(found).items()]
    yield from lines.heading(f"Items  {', '.join(each)}")
    changes = [
        {"item_id": change.item_id, "what": change, "title": change.title}
        for some in _items(found).values()
        for change in some.shown
    ]
    yield from table(_CHANGES, changes, out.now, out.colours)
    if found.items.unmatched:
        alone = count(found.items.unmatched, "item")
        yield f"{alone} of {visible(found.before.run_id)} not matched: their ids do not begin with the run's"


def _described(run: RunRecord, out: Output) -> str:
    return f"{shown(run.status, 40)}, {shown(run.run_type, 40)}\nstarted {full_text(run.started_at, out.now)}"


def _value(value: Any, _: Row, __: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell("", number(value))
    return Cell("-" if value is ABSENT else shown(value, 60))


def _difference(_: Any, row: Row, __: Any) -> Cell:
    return Cell("", "  ".join(filter(None, difference(row["before"], row["after"]))))


def _decision(value: Any, _: Row, __: Any) -> Cell:
    return Cell("undecided" if value is None else shown(value, 40), colour=COLOURS.get(value or ""))


def _change(change: Change, _: Row, __: Any) -> Cell:
    before, after = ("undecided" if each is None else str(each) for each in (change.before, change.after))
    if change.before is ABSENT:
        return Cell(f"new: {shown(after, 40)}", colour="green")
    if change.after is ABSENT:
        return Cell(f"gone, was {shown(before, 40)}", colour="red")
    return Cell(f"{shown(before, 40)} -> {shown(after, 40)}", colour="yellow")


_VALUES = (
    Field("name", "Path", "id"),
    Field("before", "From", cell=_value),
    Field("after", "To", cell=_value),
    Field("", "Difference", "number", cell=_difference, drops=1),
)
_COUNTS = (
    Field("name", "Decision", cell=_decision),
    Field("before", "From", "number"),
    Field("after", "To", "number"),
    Field("", "Difference", "number", cell=_difference),
)
_CHANGES = (Field("item_id", "Item", "id"), Field("what", "Change", cell=_change), Field("title", "Title", "text"))
