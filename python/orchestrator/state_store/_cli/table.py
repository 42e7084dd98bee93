"""Tables on a terminal: they fit its width, free text gives way, and ids are never cut."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

import click
from orchestrator.state_store._cli.fields import Cell, Field, Row
from rich.cells import cell_len, chop_cells, set_cell_size

GAP = "  "
LEAST_TEXT = 30
"""How narrow free text may be beside other columns; else it stands on a line of its own."""

LEAST_OF_MANY = 8
"""The same where all columns are text."""

TEXTS = ("text", "prose")

AT_ONCE = 500
"""How many rows a table is laid out for: a longer one is printed as it comes."""


def width() -> int:
    """Return how many columns the terminal has; 60 at least."""
    return max(60, shutil.get_terminal_size().columns)


def table(
    fields: Sequence[Field], rows: Iterable[Row], now: datetime, colours: bool, no_room: set[str] | None = None
) -> Iterator[str]:
    """Yield the lines of a table; put the names of fields for which there is no room into `no_room`."""
    waiting = iter(rows)
    layout = None
    while chunk := [[field.show(row, now) for field in fields] for row in islice(waiting, AT_ONCE)]:
        titles = [field.title(now) for field in fields]
        found = Layout.of(fields, titles, chunk, width())
        if layout is None or found != layout:
            layout = found
            if no_room is not None:
                no_room.update(fields[place].name for place in layout.no_room)
            yield from layout.heading(titles, colours)
        for cells in chunk:
            yield from layout.lines(cells, colours)


@dataclass(frozen=True)
class Column:
    """Where a column is: which cell, how wide, and how wide the part is that is aligned to the right."""

    place: int
    width: int
    right: int

    def text(self, cell: Cell) -> str:
        """Return a cell as wide as the column."""
        if not self.right:
            return _fitted(cell.text, self.width)
        room = self.width - self.right
        return f"{_fitted(cell.text, room)}{' ' * (self.right - cell_len(cell.right))}{cell.right}"


@dataclass(frozen=True)
class Layout:
    """How a table fits: what has a line of its own before a row's cells, its columns, and what stands beneath them."""

    above: tuple[int, ...]
    columns: tuple[Column, ...]
    beneath: tuple[int, ...]
    prose: frozenset[int]
    no_room: frozenset[int]
    width: int

    @classmethod
    def of(cls, fields: Sequence[Field], titles: Sequence[str], rows: Sequence[Sequence[Cell]], most: int) -> Layout:
        """Return how these rows fit into a width."""
        columns = [_natural(place, titles[place], rows) for place in range(len(fields))]
        ids = [column for column in columns if fields[column.place].kind == "id"]
        texts = [column for column in columns if fields[column.place].kind in TEXTS and _is_used(column, rows)]
        others = [column for column in columns if fields[column.place].kind not in ("id", *TEXTS)]
        prose = frozenset(column.place for column in texts if fields[column.place].kind == "prose")
        beside = _beside(columns, fields, texts, most, LEAST_TEXT if ids or others else LEAST_OF_MANY)
        if beside:
            return cls((), beside, (), prose, frozenset(), most)
        beneath = tuple(column.place for column in texts)
        all_but_texts = [column for column in columns if column in ids or column in others]
        above: tuple[int, ...] = ()
        fitted = _dropping(fields, all_but_texts, most)
        # A long id gets a line of its own before others are left out for it.
        if ids and (_sum(fitted) > most or (len(fitted) < len(all_but_texts) and _sum(ids) * 5 > most * 2)):
            above = tuple(column.place for column in ids)
            fitted = _dropping(fields, others, most - len(GAP))
        shown = {*above, *(column.place for column in fitted)}
        no_room = frozenset(column.place for column in all_but_texts if column.place not in shown)
        return cls(above, fitted, beneath, prose, no_room, most)

    def heading(self, titles: Sequence[str], colours: bool) -> Iterator[str]:
        """Yield the lines above the rows."""
        for line in self.lines([Cell(title) for title in titles], False, titles=True):
            yield click.style(line, bold=True) if colours else line

    def lines(self, cells: Sequence[Cell], colours: bool, titles: bool = False) -> Iterator[str]:
        """Yield the lines of a row."""
        for place in self.above:
            yield cells[place].text
        indent = GAP if self.above else ""
        parts = [self._part(column, cells[column.place], titles) for column in self.columns]
        while parts and not parts[-1][0].strip():
            parts.pop()
        if parts:
            parts[-1] = (parts[-1][0].rstrip(), parts[-1][1])
            styled = (click.style(text, fg=colour) if colours and colour else text for text, colour in parts)
            yield indent + GAP.join(styled)
        for place in self.beneath:
            room = self.width - len(GAP + indent)
            text = cells[place].text
            for line in wrapped(text, room) if place in self.prose else filter(None, [_cut(text, room)]):
                yield GAP + indent + line

    def _part(self, column: Column, cell: Cell, titles: bool) -> tuple[str, str | None]:
        """Return the text of a column, as wide as it is, and its colour; titles stand where their cells do."""
        if titles and column.right == column.width > 0:
            cell = Cell("", cell.text)
        elif titles:
            return _fitted(cell.text, column.width), None
        return column.text(cell), cell.colour


def _natural(place: int, title: str, rows: Sequence[Sequence[Cell]]) -> Column:
    right = max((cell_len(cells[place].right) for cells in rows), default=0)
    left = max((cell_len(cells[place].text) for cells in rows), default=0)
    both = left + right + (1 if left and right else 0)
    if both >= cell_len(title):
        return Column(place, both, right)
    return Column(place, cell_len(title), cell_len(title) if right and not left else right)


def _is_used(column: Column, rows: Sequence[Sequence[Cell]]) -> bool:
    return any(cells[column.place].text for cells in rows)


def _sum(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(GAP) * max(len(columns) - 1, 0)


def _beside(
    columns: Sequence[Column], fields: Sequence[Field], texts: Sequence[Column], most: int, least_text: int
) -> tuple[Column, ...] | None:
    """Return all columns in a line, free text as narrow as it has to be; None if that is too narrow."""
    used = [column for column in columns if fields[column.place].kind not in TEXTS or column in texts]
    excess = _sum(used) - most
    for text in sorted(texts, key=lambda column: -column.width):
        if excess > 0:
            least = text.width if fields[text.place].kind == "prose" else least_text
            narrower = max(min(text.width, least), text.width - excess)
            excess -= text.width - narrower
            used[used.index(text)] = replace(text, width=narrower)
    return tuple(used) if excess <= 0 else None


def _dropping(fields: Sequence[Field], columns: Sequence[Column], most: int) -> tuple[Column, ...]:
    """Return columns without those that are left out where there is no room."""
    kept = list(columns)
    while _sum(kept) > most and any(fields[column.place].drops for column in kept):
        kept.remove(max(kept, key=lambda column: fields[column.place].drops))
    return tuple(kept)


def _fitted(text: str, most: int) -> str:
    return set_cell_size(_cut(text, most), most)


def _cut(text: str, most: int) -> str:
    return text if cell_len(text) <= most else set_cell_size(text, most - 1).rstrip() + "…"


def wrapped(line: str, room: int) -> list[str]:
    """Return a line in parts that fit into so many columns, parted between words where it can be."""
    parts = [""]
    for word in re.findall(r"\s*\S+", line):
        if cell_len(parts[-1] + word) <= room:
            parts[-1] += word
        else:
            parts += chop_cells(word.lstrip() if parts[-1] else word, room)
    return list(filter(None, parts))
