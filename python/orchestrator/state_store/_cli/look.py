"""`page` and `report`: a store in a browser, and a run in a file to mail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import click
from orchestrator.state_store._cli.errors import Failure, said
from orchestrator.state_store._cli.options import Shared, a_number, db_option, run_ids
from orchestrator.state_store._view.runs import run_of
from orchestrator.state_store.unreadable import Unreadable

MOST_PORTS = 65535


@click.command()
@db_option
@click.option("--port", type=a_number, metavar="N", default="0", help="The port on 127.0.0.1.  [default: a free one]")
@click.option("--no-open", is_flag=True, help="Only print the address.")
@click.option("--decide", is_flag=True, help="Let the page change decisions.")
@click.pass_obj
def page(shared: Shared, port: int, no_open: bool, decide: bool) -> None:
    """Serve the store to a browser on this machine, until Ctrl-C."""
    if port > MOST_PORTS:
        raise click.BadParameter(f"ports go up to {MOST_PORTS}", param_hint="'--port'")
    with shared.open():
        pass  # It must be there.
    from orchestrator.state_store._page import serve

    serve(shared.location, port=port, open_browser=not no_open, decide=decide)


@click.command()
@db_option
@click.argument("run_id", metavar="RUN", shell_complete=run_ids)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="The file.  [default: stdout]")
@click.option("--items", type=a_number, metavar="N", default="1000", show_default=True, help="The most items in it.")
@click.pass_obj
def report(shared: Shared, run_id: str, output: Path | None, items: int) -> None:
    """Write a run into one HTML file."""
    if output == Path("-"):
        output = None
    if output is None and sys.stdout.isatty():
        raise click.UsageError("it is HTML: give -o FILE, or redirect it")
    from orchestrator.state_store._report import write

    with shared.open() as store:
        run_of(store, run_id)
        if output is None:
            odd = write(store, run_id, sys.stdout.buffer, items=items)
        else:
            odd = _whole(output, lambda file: write(store, run_id, file, items=items))
    raise click.exceptions.Exit(said(odd))


def _whole(given: Path, write: Callable[[IO[bytes]], Unreadable]) -> Unreadable:
    """Write a file that has its name only when it is whole; what is no file, such as /dev/null, is written as it is."""
    import tempfile

    path = given.resolve()
    if path.is_dir():
        raise Failure(f"{given}: it is a folder")
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            return write(file)
    if path.exists() and _is_database(path):
        raise Failure(f"{given}: it is a SQLite database, which a report does not replace; choose another name")
    try:
        handle, partial = tempfile.mkstemp(prefix=f"{path.name[:100]}.", suffix=".partial", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(given)) from None
    try:
        with open(handle, "wb") as file:  # noqa: PTH123
            odd = write(file)
        Path(partial).replace(path)
        return odd
    except BaseException:
        with suppress(OSError):
            Path(partial).unlink()
        raise


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
