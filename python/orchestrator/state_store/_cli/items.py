"""`items`: list them, show one, decide on one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import click
from orchestrator.state_store import IntelItem, StateStore, unreadable
from orchestrator.state_store._cli.fields import ITEM_FIELDS, ITEM_NAMES, ITEM_TABLE, Cell, Field, Row
from orchestrator.state_store._cli.group import Verbs, help_without_verb
from orchestrator.state_store._cli.options import (
    Shared,
    a_condition,
    a_time,
    conditions,
    cursor_option,
    fields_option,
    limit_option,
    run_ids,
    verb,
)
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._cli.paging import Paged
from orchestrator.state_store._cli.show import item_lines
from orchestrator.state_store._view.runs import item_of, run_of
from orchestrator.state_store._view.scores import is_drawable, number
from orchestrator.state_store._view.text import count, leaves

RANKED = 100_000
"""How many items a page has that is sorted: each page is a scan of all."""


@click.group(cls=Verbs)
def items() -> None:
    """List and show items, and decide on them."""
    help_without_verb()


@items.command()
@verb()
@click.option("--run", "run_id", metavar="RUN", shell_complete=run_ids, help="Only items of this run.")
@click.option("--type", "item_type", help="Only items of this type.")
@click.option("--decision", help="Only items with this decision.")
@click.option("--undecided", is_flag=True, help="Only items without a decision.")
@click.option("--since", type=a_time, metavar="WHEN", help="Only items recorded then or later: 7d ago, or a time.")
@click.option("--until", type=a_time, metavar="WHEN", help="Only items recorded before that.")
@click.option("--id-prefix", metavar="TEXT", help="Only items whose id begins so; others are read, too.")
@click.option(
    "--where",
    multiple=True,
    type=a_condition,
    metavar="'PATH OP VALUE'",
    help="Only items whose JSON is so, as in 'scores_json.total >= 80'; OP is one of = != < <= > >= ~ (contains). "
    "Also 'PATH?' (is there) and '!PATH?'. VALUE is JSON, or else text. Repeatable: all must hold.",
)
@click.option("--best", metavar="PATH", help="The largest number there first, as in scores_json.total.")
@click.option("--newest/--oldest", default=False, help="Which come first.  [default: oldest]")
@fields_option(ITEM_NAMES)
@limit_option()
@cursor_option
@click.pass_obj
def ls(
    shared: Shared,
    /,
    id_prefix: str | None,
    where: Sequence[tuple[str, str, Any]],
    undecided: bool,
    best: str | None,
    newest: bool,
    fields: list[str] | None,
    limit: int,
    cursor: str | None,
    **filters: Any,
) -> None:
    """List items, the oldest first."""
    out = Output(shared)
    chosen = _chosen(out, fields, best)
    filters |= {"where": conditions(where), "undecided": True if undecided else None}
    order: Any = {"order": "newest" if newest else "oldest", "order_by": best}
    if undecided and filters["decision"] is not None:
        raise click.UsageError("--undecided and --decision are not possible together")
    columns = {*(field.name for field in chosen), "item_id"}
    if best:
        columns.add(best.partition(".")[0].partition("[")[0])
    read: Any = {"fields": columns & set(ITEM_NAMES) or None, **order, **filters}

    def rows(store: StateStore) -> Iterable[IntelItem]:
        if limit or cursor or id_prefix:
            return pages
        return store.iter_intel_items(**read)

    with shared.open() as store:
        pages = Paged(
            lambda most, at: store.list_intel_items(**read, limit=most, cursor=at),
            limit,
            cursor,
            (lambda item: item["item_id"].startswith(id_prefix)) if id_prefix else None,
            **({"at_once": RANKED} if best and not limit else {}),
        )
        coming = iter(rows(store))
        first = list(islice(coming, 1))
        if not first and filters["run_id"] is not None:
            run_of(store, filters["run_id"])
        printed = out.rows(chosen, chain(first, coming))
        if pages.next_cursor and limit:
            out.remark(
                f"{count(printed, 'item')}, and there are more; the next: --cursor {pages.next_cursor}, all: --limit 0"
            )
        elif not printed:
            out.remark("no item matches" if any(filters.values()) or id_prefix else "there are no items")


def _chosen(out: Output, names: list[str] | None, best: str | None) -> list[Field]:
    if out.form == "ids":
        return [ITEM_FIELDS["item_id"]]
    fields = [ITEM_FIELDS[name] for name in names or (ITEM_TABLE if out.form == "table" else ITEM_NAMES)]
    if best and out.draws and not names:
        at = ITEM_TABLE.index("scores_json")
        fields[at] = Field("", best.rpartition(".")[2][:20], "number", cell=lambda _, row, __: _number_at(row, best))
    return fields


def _number_at(row: Row, path: str) -> Cell:
    """Return the number that a row is sorted by."""
    column, _, rest = path.partition(".")
    for place, value in leaves(row.get(column)):
        if place == rest and isinstance(value, int | float) and not isinstance(value, bool) and is_drawable(value):
            return Cell("", number(value))
    return Cell("", "-")


@items.command("show")
@verb()
@click.argument("item_id", metavar="ITEM")
@click.pass_obj
def show_item(shared: Shared, item_id: str) -> None:
    """Show an item.

    That is its summary, scores, flags, claims and evidence, its decision, and why it was decided so.
    """
    out = Output(shared)
    with shared.open() as store:
        item = item_of(store, item_id)
    out.record(item, "item_id", lambda: item_lines(out, item))


@items.command()
@verb()
@click.argument("item_id", metavar="ITEM")
@click.argument("decision", required=False, metavar="[DECISION]")
@click.option("--reason", help="Why; replaces the reason before.")
@click.option("--clear", is_flag=True, help="Take the decision back.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.pass_obj
def decide(shared: Shared, item_id: str, decision: str | None, reason: str | None, clear: bool, dry_run: bool) -> None:
    """Set the decision on an item.

    It is free text: promote, monitor, block, ... Nothing else of the item is changed.
    """
    if clear == (decision is not None):
        raise click.UsageError("give a DECISION, or --clear to take it back")
    if decision == "":
        raise click.UsageError("DECISION is empty; --clear takes it back")
    out = Output(shared)
    with shared.open(writes=not dry_run) as store, unreadable.shown():
        before = item_of(store, item_id)
        if not dry_run:
            store.decide(item_id, decision, reason)
    record = {
        "item_id": item_id,
        "before": before["decision"],
        "decision": decision,
        "decision_reason": reason,
    }
    out.rows(_DECIDED, [record])


_DECIDED = (
    Field("item_id", "Item", "id"),
    replace(ITEM_FIELDS["decision"], name="before", heading="Before"),
    ITEM_FIELDS["decision"],
    ITEM_FIELDS["decision_reason"],
)
