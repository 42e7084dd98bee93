"""`backup`, `salvage` and `copy`: a store into another one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from orchestrator.state_store import InvalidValueError, Salvaged, UnsupportedError
from orchestrator.state_store import salvage as salvage_file
from orchestrator.state_store._cli.errors import Failure
from orchestrator.state_store._cli.fields import Field
from orchestrator.state_store._cli.options import Shared, verb, without_password
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._cli.progress import progress
from orchestrator.state_store._cli.upkeep import RECORD
from orchestrator.state_store._view.text import count, size, visible


@click.command()
@verb(*RECORD)
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that is there, if no program has it open.")
@click.pass_obj
def backup(shared: Shared, dest: Path, overwrite: bool) -> None:
    """Copy a snapshot of the store to a file.

    Others can write meanwhile. DEST is whole and checked, or it is not there.
    """
    out = Output(shared)
    with shared.open() as store, progress("backup", "pages") as tell:
        store.backup(dest, overwrite=overwrite, progress=tell)
    written = dest.stat().st_size
    out.record({"dest": str(dest), "bytes": written}, "", lambda: [f"{visible(str(dest))}, {size(written)}"])


@click.command()
@verb(*RECORD)
@click.argument("dest", type=click.Path(path_type=Path))
@click.pass_obj
def salvage(shared: Shared, dest: Path) -> None:
    """Copy what can be read of a damaged file.

    Into a new one, DEST; exit status 1 if anything was lost. Close the programs that use the file first. It is
    never written to.
    """
    out = Output(shared)
    if re.match("postgres(ql)?://", shared.location, re.IGNORECASE):
        raise UnsupportedError("salvage: a store in PostgreSQL does not have this; its own tools restore a database")
    with progress("salvage", "rows") as tell:
        # Its total is the number of rows that were lost so far.
        found = salvage_file(shared.location, dest, progress=lambda kept, lost: tell(kept + lost, 0))
    record = {"dest": str(dest), **asdict(found)}
    out.record(record, "", lambda: _salvaged_lines(out, dest, found))
    if found.lost or found.mended:
        rows = f"{count(len(found.lost), 'row')} lost, {count(len(found.mended), 'row')} mended"
        raise Failure(f"{rows}; check what was kept")


def _salvaged_lines(out: Output, dest: Path, found: Salvaged) -> Iterator[str]:
    from orchestrator.state_store._cli.table import table

    kept = ", ".join(f"{rows:,} {name}" for name, rows in found.kept.items())
    yield f"{visible(str(dest))}: kept {kept}"
    yield from map(visible, found.remarks)
    losses = [{"what": what, **asdict(loss)} for what in ("lost", "mended") for loss in getattr(found, what)]
    yield from table(_LOSSES, losses, out.now, out.colours)


_LOSSES = (
    Field("what", "What"),
    Field("table", "Table"),
    Field("rowid", "Row", "number", drops=2),
    Field("id", "Id", "id"),
    Field("column", "Column", drops=1),
    Field("why", "Why", "prose"),
)


@click.command()
@verb(*RECORD)
@click.argument("dest", metavar="DEST", callback=lambda _, __, value: without_password(value))
@click.pass_obj
def copy(shared: Shared, dest: str) -> None:
    """Copy all rows into a new store, of either engine.

    From --db. Stop its writers first. A copy that was interrupted goes on when it is run again.
    """
    out = Output(shared)
    from orchestrator.state_store import copy_store

    with progress("copy", "rows") as tell:
        try:
            copied = copy_store(
                shared.location, dest, progress=lambda now: tell(now.rows, now.total_rows, f"copy, step {now.step}")
            )
        except InvalidValueError as error:
            # Rows that the other engine cannot hold are no matter of usage.
            raise Failure(str(error)) from None
    record = {"dest": dest, **asdict(copied)}
    rows = f"{count(copied.runs, 'run')} and {count(copied.intel_items, 'item')}"
    out.record(record, "", lambda: [f"{visible(dest)}: {rows}"])
