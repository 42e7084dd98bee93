"""`sql`: one statement that reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from orchestrator.state_store import Cursor, QueryError, ReadOnlyError, StateStore
from orchestrator.state_store._cli.errors import USAGE, Failure
from orchestrator.state_store._cli.fields import Field, Row
from orchestrator.state_store._cli.options import Shared, limit_option, verb
from orchestrator.state_store._cli.output import Output
from orchestrator.state_store._cli.progress import progress
from orchestrator.state_store._cli.upkeep import RECORD
from orchestrator.state_store._view.text import count, shown


@click.command()
@verb(*RECORD)
@click.argument("statement")
@limit_option("rows")
@click.pass_obj
def sql(shared: Shared, statement: str, limit: int) -> None:
    """Run one SELECT in the dialect of the store's engine.

    No more rows than --limit are read, if it is a SELECT that can stand in another one. Runs that are being pruned,
    and columns that later versions may change, are seen as they are in the tables.
    """
    out = Output(shared)
    with shared.open() as store:
        with progress("sql"):
            cursor = _executed(store, statement, limit)
        fields = _fields(cursor)
        rows = _rows(cursor, fields, limit)
        if out.draws and not _fits(fields):
            out.lines(_records(out, fields, rows))
        else:
            out.rows(fields, rows)
        if limit and next(cursor, None) is not None:
            out.remark(f"the first {count(limit, 'row')}; all: --limit 0")


def _executed(store: StateStore, statement: str, limit: int) -> Cursor:
    """Run a statement for one row more than are wanted, so that others are not even read."""
    connection = store.connection
    connection.row_factory = None
    text = statement.strip().rstrip(";")
    try:
        if limit:
            try:
                # A comment at the end must not take the bracket along.
                return connection.execute(f"SELECT * FROM (\n{text}\n) AS answer LIMIT {limit + 1}")
            except (QueryError, ReadOnlyError):
                pass  # It is no SELECT that can stand in another, or wrong; then its own message is wanted.
        return connection.execute(text)
    except ReadOnlyError as error:
        raise Failure(str(error), USAGE) from None


def _fields(cursor: Cursor) -> list[Field]:
    """Return a field for each column; names that come twice get a number."""
    names: list[str] = []
    for column in cursor.description or ():
        name = str(column[0])
        names.append(name if name not in names else f"{name}:{len(names)}")
    return [Field(name, name, "text") for name in names]


def _fits(fields: list[Field]) -> bool:
    from orchestrator.state_store._cli.table import GAP, LEAST_OF_MANY, width

    return (LEAST_OF_MANY + len(GAP)) * len(fields) <= width()


def _records(out: Output, fields: list[Field], rows: Iterator[Row]) -> Iterator[str]:
    """Yield a line for each value: a table of so many columns could not be read."""
    from orchestrator.state_store._cli.show import Lines

    lines = Lines(out)
    for number, row in enumerate(rows, 1):
        yield from lines.heading(f"Row {number}")
        for field in fields:
            value = row[field.name]
            yield from lines.pair(field.name, "-" if value is None else shown(value))


def _rows(cursor: Cursor, fields: list[Field], limit: int) -> Iterator[Row]:
    for number, values in enumerate(cursor, 1):
        yield {field.name: _plain(value) for field, value in zip(fields, values, strict=True)}
        if number == limit:
            return


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes as hexadecimal digits, and what an engine has besides as its text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
