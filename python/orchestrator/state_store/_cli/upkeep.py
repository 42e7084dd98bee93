"""`stats`, `check`, `prune` and `vacuum`: what is in a store, and what is wrong with it; making room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click
from orchestrator.state_store import Deleted, InvalidValueError, Stats
from orchestrator.state_store._cli.errors import Failure
from orchestrator.state_store._cli.fields import COLOURS, Field
from orchestrator.state_store._cli.options import Shared, a_number, a_span, confirmed, dry_run_option, verb, yes_option
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._cli.progress import progress
from orchestrator.state_store._view.text import count, shown, size

RECORD = ("table", "json", "jsonl", "csv")
"""The forms of what has no ids."""


@click.command()
@verb(*RECORD)
@click.pass_obj
def stats(shared: Shared) -> None:
    """Count runs, items and bytes."""
    out = Output(shared)
    with shared.open() as store:
        found = store.stats()
    out.record(asdict(found), "", lambda: _stats_lines(out, found))


def _stats_lines(out: Output, found: Stats) -> Iterator[str]:
    from orchestrator.state_store._cli.show import Lines

    lines = Lines(out)
    yield from lines.pair("Runs", f"{found.runs:>12,}")
    for status, runs in found.runs_by_status.items():
        yield from lines.pair(f"  {shown(status, 40)}", f"{runs:>12,}", COLOURS.get(status))
    yield from lines.pair("Items", f"{found.intel_items:>12,}")
    yield from lines.pair("Telemetry", f"{found.telemetry:>12,}")
    for label, number in (("File", found.file_bytes), ("Log", found.wal_bytes), ("Free pages", found.free_bytes)):
        yield from lines.pair(label, f"{size(number):>12}")
    yield from lines.pair("Schema", f"{found.schema_version:>12}")
    yield from lines.pair("SQLite", f"{found.sqlite_version:>12}")
    if found.hard_links > 1:
        yield from lines.pair("Hard links", f"{found.hard_links:>12}  each has a log of its own", "yellow")


@click.command()
@verb()
@click.option(
    "--stale",
    type=a_span,
    metavar="SPAN",
    default="1h",
    show_default=True,
    help="A run that is silent for so long is one.",
)
@click.pass_obj
def check(shared: Shared, stale: timedelta) -> None:
    """Look for damage, and for silent runs.

    Exit status 1 if anything is found. It reads everything, and changes nothing.
    """
    out = Output(shared)
    with shared.open() as store, progress("check"):
        found = store.check(stale_after=stale)
    out.rows(_FINDINGS, map(asdict, found))
    if found:
        raise Failure(f"{count(len(found), 'problem')} found")
    out.remark("no problem found")


_FINDINGS = (
    Field("kind", "Kind"),
    Field("table", "Table", drops=1),
    Field("id", "Id", "id"),
    Field("message", "What is wrong", "prose"),
)


@click.command()
@verb(*RECORD)
@click.option("--older-than", type=a_span, metavar="SPAN", help="Delete runs that finished longer ago than this: 90d.")
@click.option("--keep-last", type=a_number, metavar="N", help="Keep this many runs, those recorded last.")
@click.option("--status", multiple=True, help="Only runs with this status; repeatable.")
@click.option("--type", "run_type", help="Only runs of this type.")
@click.option("--keep-seen/--no-keep-seen", default=True, show_default=True, help="Keep runs whose items came again.")
@click.option("--trust-clock", is_flag=True, help="Also where the clock seems wrong.")
@dry_run_option
@yes_option
@click.pass_obj
def prune(shared: Shared, /, dry_run: bool, yes: bool, status: tuple[str, ...], **options: Any) -> None:
    """Delete old runs, by age or number.

    Runs that are finished, with their items and telemetry, while others write. With both --older-than and --keep-
    last a run goes only if it meets both. A prune that was interrupted goes on when it is run again.
    """
    if options["older_than"] is None and options["keep_last"] is None:
        raise click.UsageError("which runs? Give --older-than, --keep-last or both")
    out = Output(shared)
    options["status"] = status or None
    with shared.open(writes=not dry_run) as store:
        if dry_run or not yes:
            with progress("prune: counting"):
                would = store.prune(**options, dry_run=True)
            if dry_run:
                return _deleted(out, would, "would be deleted")
            confirmed(f"Delete {_what(would)}?", yes)
        try:
            with progress("prune"):
                done = store.prune(**options)
        except InvalidValueError as error:
            # Rows of other tables keep some runs: that is no matter of usage.
            raise Failure(str(error)) from None
    return _deleted(out, done, "were deleted")


def _what(deleted: Deleted) -> str:
    return f"{count(deleted.runs, 'run')} and {count(deleted.intel_items, 'item')}"


def _deleted(out: Output, deleted: Deleted, what: str) -> None:
    out.record(asdict(deleted), "", lambda: [f"{_what(deleted)} {what}"])


@click.command()
@verb(*RECORD)
@click.option("--full", is_flag=True, help="Rewrite the whole file; it blocks all writers meanwhile.")
@click.pass_obj
def vacuum(shared: Shared, full: bool) -> None:
    """Return free pages to the file system."""
    out = Output(shared)
    with shared.open(writes=True) as store, progress("vacuum"):
        done = store.vacuum(full=full)
    out.record(asdict(done), "", lambda: [f"the file is smaller by {size(done.bytes_freed)}"])
    if done.reason:
        out.remark(f"not by more: {done.reason}")
