"""What a verb prints: a table for people, or JSON, JSON lines, CSV, ids or tab-separated text for programs."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any

from orchestrator.state_store._cli.errors import Failure, say
from orchestrator.state_store._cli.fields import Field, Row
from orchestrator.state_store._cli.options import Shared
from orchestrator.state_store._view.text import UNSAFE, leaves, visible
from orchestrator.state_store._view.times import now as time_now


class Output:
    """Where a verb prints, and in which form."""

    def __init__(self, shared: Shared) -> None:
        forced = bool(os.environ.get("FORCE_COLOR"))
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.form = shared.form or "table"
        self.now: datetime = time_now()
        self.is_terminal = forced or sys.stdout.isatty()
        self.colours = self.is_terminal and (not plain or (forced and not os.environ.get("NO_COLOR")))

    @property
    def draws(self) -> bool:
        """Whether a table is drawn, for people."""
        return self.form == "table" and self.is_terminal

    def rows(self, fields: Sequence[Field], rows: Iterable[Row]) -> int:
        """Print rows as they come; return how many there were."""
        coming = iter(rows)
        # What is wrong with filters is found with the first row, before a heading is printed.
        counted = _Counted(chain(list(islice(coming, 1)), coming))
        if self.draws:
            from orchestrator.state_store._cli.table import table

            no_room: set[str] = set()
            self.lines(table(fields, counted, self.now, self.colours, no_room))
            if no_room:
                self.remark(f"no room for {', '.join(sorted(no_room))}: --json has all, --fields chooses")
        else:
            self.lines(_WRITERS[self.form](fields, counted))
        return counted.count

    def record(self, record: Mapping[str, Any], key: str, draw: Callable[[], Iterable[str]]) -> None:
        """Print one record; on a terminal, the lines that `draw` makes of it."""
        if self.draws:
            self.lines(draw())
        elif self.form == "json":
            self.lines([encoded(record, 2)])
        elif self.form == "table":
            self.lines(f"{visible(path)}\t{_cell(value)}" for path, value in leaves(record))
        else:
            self.rows([Field(name, name, "id" if name == key else "word") for name in record], [record])

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines."""
        for line in lines:
            try:
                sys.stdout.write(f"{line}\n")
            except BrokenPipeError:
                raise
            except OSError as error:
                raise Failure(f"cannot print: {error.strerror}") from None

    def remark(self, text: str) -> None:
        """Say something beside the output."""
        say(text)


class _Counted:
    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def encoded(value: Any, indent: int | None = None) -> str:
    r"""Return JSON that is safe to print: what is not shown is escaped, as JSON has it (`\u202e`)."""
    text = json.dumps(value, ensure_ascii=not _is_unicode(), indent=indent)
    lines = text.split("\n") if indent else [text]
    return "\n".join(UNSAFE.sub(_json_escape, line) for line in lines)


def _json_escape(found: Any) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _chosen(fields: Sequence[Field], row: Row) -> dict[str, Any]:
    return {field.name: row.get(field.name) for field in fields}


def _as_json(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    line = "["
    for row in rows:
        # A row gets its comma when the next one has come.
        yield line
        line = f"  {encoded(_chosen(fields, row))},"
    if line == "[":
        yield "[]"
    else:
        yield line.removesuffix(",")
        yield "]"


def _as_jsonl(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    return (encoded(_chosen(fields, row)) for row in rows)


def _as_csv(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    for row in chain([{field.name: field.name for field in fields}], rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_cell(row.get(field.name), lines=True) for field in fields])
        yield line.getvalue()


def _as_ids(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    key = next(field.name for field in fields if field.kind == "id")
    return (visible(str(row[key])) for row in rows)


def _as_tabs(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    yield "\t".join(visible(field.name) for field in fields)
    for row in rows:
        yield "\t".join(_cell(row.get(field.name)) for field in fields)


def _cell(value: Any, *, lines: bool = False) -> str:
    if value is None:
        return ""
    return visible(value, lines=lines) if isinstance(value, str) else encoded(value)


_WRITERS = {"json": _as_json, "jsonl": _as_jsonl, "csv": _as_csv, "ids": _as_ids, "table": _as_tabs}
