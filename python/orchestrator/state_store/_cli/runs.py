"""`runs`: list, show, compare, watch, recover and delete them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal

import click
from orchestrator.state_store import unreadable
from orchestrator.state_store._cli.compare import diff
from orchestrator.state_store._cli.errors import Failure
from orchestrator.state_store._cli.fields import RUN_FIELDS, RUN_TABLE, Field, run_row
from orchestrator.state_store._cli.group import Verbs, help_without_verb
from orchestrator.state_store._cli.options import (
    Shared,
    a_span,
    a_time,
    confirmed,
    cursor_option,
    dry_run_option,
    fields_option,
    limit_option,
    run_ids,
    stale_option,
    verb,
    yes_option,
)
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._cli.paging import Paged
from orchestrator.state_store._cli.show import decisions_of, run_lines
from orchestrator.state_store._cli.tail import tail
from orchestrator.state_store._view.runs import is_silent, run_of
from orchestrator.state_store._view.text import count, shown
from orchestrator.state_store._view.times import age, full_text
from orchestrator.state_store.excerpts import excerpt


@click.group(cls=Verbs)
def runs() -> None:
    """List, show, compare, watch, recover and delete runs."""
    help_without_verb()


@runs.command()
@verb()
@click.option("--status", multiple=True, help="Only runs with this status; repeatable.")
@click.option("--type", "run_type", help="Only runs of this type.")
@click.option("--since", type=a_time, metavar="WHEN", help="Only runs that started then or later: 7d ago, or a time.")
@click.option("--until", type=a_time, metavar="WHEN", help="Only runs that started before that.")
@click.option("--id-prefix", "run_id_prefix", metavar="TEXT", help="Only runs whose id begins so.")
@click.option("--newest/--oldest", default=True, help="Which come first.  [default: newest]")
@stale_option
@fields_option(list(RUN_FIELDS))
@limit_option()
@cursor_option
@click.pass_obj
def ls(
    shared: Shared,
    /,
    status: tuple[str, ...],
    newest: bool,
    stale: timedelta,
    fields: list[str] | None,
    limit: int,
    cursor: str | None,
    **filters: Any,
) -> None:
    """List runs, the newest first.

    A run that is running, but has given no sign of life for --stale, is marked as silent.
    """
    out = Output(shared)
    filters["status"] = status or None
    order: Literal["newest", "oldest"] = "newest" if newest else "oldest"
    with shared.open() as store:
        runs = Paged(lambda most, at: store.list_runs(**filters, order=order, limit=most, cursor=at), limit, cursor)
        names: Sequence[str] = ["run_id"] if out.form == "ids" else fields or run_fields(out)
        silent = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal silent
            for run in runs:
                row = run_row(run, stale, out.now)
                silent += row["silent"]
                yield row

        printed = out.rows([RUN_FIELDS[name] for name in names], rows())
        if silent and out.draws:
            out.remark(f"{count(silent, 'run')} silent: running, but no sign of life for {age(stale.total_seconds())}")
        if runs.next_cursor:
            of = count(store.count_runs(**filters), "run")
            out.remark(f"{printed:,} of {of}; the next: --cursor {runs.next_cursor}, all: --limit 0")
        elif not printed:
            out.remark("no run matches" if any(filters.values()) else "there are no runs")


def run_fields(out: Output) -> Sequence[str]:
    """Return which fields of runs are printed, if nothing else is said."""
    if out.form != "table":
        return list(RUN_FIELDS)
    return RUN_TABLE if out.draws else (*RUN_TABLE, "silent")


@runs.command("show")
@verb()
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@stale_option
@click.pass_obj
def show_run(shared: Shared, run_id: str, stale: timedelta) -> None:
    """Show a run.

    That is its status, last sign of life, notes, decisions, telemetry and settings.
    """
    out = Output(shared)
    with shared.open() as store:
        record = run_row(run_of(store, run_id), stale, out.now)
        record["decisions"] = decisions_of(store, run_id)
        record["items"] = sum(each["items"] for each in record["decisions"])
        record["telemetry"] = store.get_telemetry(run_id)
    out.record(record, "run_id", lambda: run_lines(out, record))


runs.add_command(diff)
runs.add_command(tail)


@runs.command()
@verb()
@click.option(
    "--older-than", "--stale", type=a_span, metavar="SPAN", required=True, help="How long they have been silent: 10m."
)
@click.option("--status", default="crashed", show_default=True, help="The status that they get.")
@click.option("--trust-clock", is_flag=True, help="Also where the clock seems wrong.")
@dry_run_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def recover(shared: Shared, older_than: timedelta, status: str, trust_clock: bool, dry_run: bool, yes: bool) -> None:
    """Finish the runs that are running, but silent.

    Their workers can write no more, until the program calls reopen_run. On a terminal it shows them, and asks.
    """
    out = Output(shared)
    fields = [RUN_FIELDS[name] for name in run_fields(out)]
    asks = not yes and sys.stdin.isatty()
    with shared.open(writes=not dry_run) as store:
        if dry_run or asks:
            running = Paged(lambda most, at: store.list_runs(status="running", limit=most, cursor=at), 0)
            silent = [run for run in running if is_silent(run, older_than, out.now)]
            if dry_run or not silent:
                out.rows(fields, [run_row(run, older_than, out.now) for run in silent])
                return out.remark(f"{count(len(silent), 'run')} would be recovered" if silent else "no run is silent")
            for run in silent:
                last = full_text(run.heartbeat_at or run.started_at, out.now)
                out.remark(f"silent: {excerpt(run.run_id)}, last sign of life {last}")
            confirmed(f"Finish {count(len(silent), 'run')} as {status}?", yes)
        recovered = store.recover_stale_runs(older_than, status, trust_clock=trust_clock)
        out.rows(fields, [run_row(run, older_than, out.now) for run in recovered])
    return out.remark(f"{count(len(recovered), 'run')} recovered" if recovered else "no run is silent")


@runs.command()
@verb()
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True, shell_complete=run_ids)
@click.option("--force", is_flag=True, help="Also a run that is running.")
@dry_run_option
@yes_option
@click.pass_obj
def delete(shared: Shared, run_ids: tuple[str, ...], force: bool, dry_run: bool, yes: bool) -> None:
    """Delete runs with their items and telemetry."""
    out = Output(shared)
    with shared.open(writes=not dry_run) as store, unreadable.shown():
        found = [run_of(store, run_id) for run_id in dict.fromkeys(run_ids)]
        active = [run.run_id for run in found if run.status == "running"]
        if active and not force:
            raise Failure(f"{excerpt(active[0])} is running: --force deletes it all the same")
        counts = {run.run_id: store.count_intel_items(run_id=run.run_id) for run in found}
        if not dry_run:
            for run in found:
                out.remark(f"{excerpt(run.run_id)}: {shown(run.status, 40)}, {count(counts[run.run_id], 'item')}")
            confirmed(f"Delete {count(len(found), 'run')} and {count(sum(counts.values()), 'item')}?", yes)
            counts = {run.run_id: store.delete_run(run.run_id, force=force).intel_items for run in found}
        out.rows(_DELETED, ({"run_id": run_id, "intel_items": items} for run_id, items in counts.items()))
        out.remark(f"{count(len(found), 'run')} {'would be deleted' if dry_run else 'deleted'}")


_DELETED = (Field("run_id", "Run", "id"), Field("intel_items", "Items", "number"))
