"""`runs tail`: what happens, as it happens, by comparing states."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from time import sleep
from typing import Any

import click
from orchestrator.state_store import RunRecord, StateStore, unreadable
from orchestrator.state_store._cli.errors import FAILED
from orchestrator.state_store._cli.fields import run_row
from orchestrator.state_store._cli.options import Shared, run_ids, stale_option, verb
from orchestrator.state_store._cli.output import Output, encoded
from orchestrator.state_store._cli.show import decisions_of
from orchestrator.state_store._view.runs import run_of
from orchestrator.state_store._view.text import count, shown, visible
from orchestrator.state_store._view.times import ago, duration, local, moment, now

EVERY = 2.0
"""Seconds between two looks."""

RECENT = 200
"""How many of the newest runs are looked at, besides those that are running."""

FAILURES = ("failed", "crashed", "cancelled")
"""With which status `tail RUN` fails; statuses are free text, and these are the ones that the store itself sets."""


@click.command()
@verb("table", "jsonl")
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=run_ids)
@stale_option
@click.pass_obj
def tail(shared: Shared, run_id: str | None, stale: timedelta) -> None:
    """Watch runs start and end; or one run until it ends.

    With RUN: its status, last sign of life and counts each 2 s; exit status 1 if it ends as failed, crashed or
    cancelled. Without: a line for each run that starts or ends, until Ctrl-C.
    """
    out = Output(shared)
    # What cannot be read is not printed.
    with shared.open() as store, unreadable.shown():
        if run_id is None:
            _watch_all(out, store, stale)
        else:
            _watch(out, store, run_id, stale)


def _watch(out: Output, store: StateStore, run_id: str, stale: timedelta) -> None:
    while True:
        run = run_of(store, run_id)
        out.now = now()
        row = run_row(run, stale, out.now) | {"decisions": decisions_of(store, run_id)}
        row["items"] = sum(each["items"] for each in row["decisions"])
        del row["settings_snapshot_json"]
        _print(out, row, _state(row, out))
        if run.status in FAILURES:
            raise click.exceptions.Exit(FAILED)
        if run.status != "running":
            return
        sleep(EVERY)


def _state(row: dict[str, Any], out: Output) -> str:
    status = "running, silent" if row["silent"] else shown(row["status"], 40)
    last = moment(row["last_sign_of_life"])
    sign = f"last sign of life {ago((out.now - last).total_seconds())}" if last and row["status"] == "running" else ""
    if row["status"] != "running" and row["seconds"] is not None:
        sign = f"took {duration(row['seconds'])}"
    decisions = [f"{each['items']:,} {shown(each['decision'] or 'undecided', 30)}" for each in row["decisions"]]
    items = count(row["items"], "item") + (f": {', '.join(decisions)}" if decisions else "")
    notes = shown(row["notes"], 200) if row["notes"] else ""
    return "; ".join(filter(None, (status, sign, items, notes)))


def _watch_all(out: Output, store: StateStore, stale: timedelta) -> None:
    known = {run.run_id: run for run in _seen(store, {})}
    begin = max((run.started_at for run in known.values()), default="")
    running = sum(run.status == "running" for run in known.values())
    out.remark(f"{count(running, 'run')} running; waiting for runs to start and end")
    while True:
        sleep(EVERY)
        out.now = now()
        seen = {run.run_id: run for run in _seen(store, known)}
        # Those that ran at the last look, and run no more.
        for gone in [run for run in known.values() if run.status == "running" and run.run_id not in seen]:
            found = store.get_run(gone.run_id)
            if found is None:
                _event(out, "deleted", gone, stale)
            else:
                seen[gone.run_id] = found
        for run in reversed(seen.values()):
            for event in _events(known.get(run.run_id), run, begin):
                _event(out, event, run, stale)
        known = seen


def _events(before: RunRecord | None, run: RunRecord, begin: str) -> Iterator[str]:
    """Yield what has happened to a run; it is `None` before it was seen, and an old one may be seen late."""
    if before is None and (run.status == "running" or run.started_at >= begin):
        yield "started"
    if before and before.status != "running" and run.status == "running":
        yield "reopened"
    if run.status != "running" and (before.status == "running" if before else run.started_at >= begin):
        yield "ended"


def _seen(store: StateStore, known: dict[str, RunRecord]) -> Iterator[RunRecord]:
    """Yield the newest runs, all that are newer than what is known, and those that are running."""
    cursor, unknown = None, True
    while unknown:
        page = store.list_runs(limit=RECENT, cursor=cursor)
        yield from page
        cursor = page.next_cursor
        unknown = bool(known) and cursor is not None and all(run.run_id not in known for run in page)
    yield from store.list_runs(status="running")


def _event(out: Output, event: str, run: RunRecord, stale: timedelta) -> None:
    row = run_row(run, stale, out.now)
    del row["settings_snapshot_json"]
    what = f"{event:8}  {visible(run.run_id)}  {shown(run.run_type, 40)}"
    if event == "ended":
        took = f" after {duration(row['seconds'])}" if row["seconds"] is not None else ""
        what += f"  {shown(run.status, 40)}{took}" + (f": {shown(run.notes, 200)}" if run.notes else "")
    _print(out, {"event": event, **row}, what)


def _print(out: Output, row: dict[str, Any], text: str) -> None:
    if out.form == "jsonl":
        out.lines([encoded(row)])
    else:
        time_now = f"{local(out.now):%H:%M:%S}  " if out.draws else f"{out.now.isoformat(timespec='seconds')}\t"
        out.lines([time_now + text])
    sys.stdout.flush()
