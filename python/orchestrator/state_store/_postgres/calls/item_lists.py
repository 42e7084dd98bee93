"""The calls that list and count intel items."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from orchestrator.state_store._core import ItemSelection
from orchestrator.state_store._postgres.calls.intel_items import ITEM_PRUNED
from orchestrator.state_store._postgres.copy_out import copy_out
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.tally import sorted_tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.state_store._core import ItemReader, Ranker, Ranking
    from orchestrator.state_store.records.item import IntelItem

_SCANNED = 2_000
"""How many items a page of an iteration scans, and a list with conditions and a limit at first."""

_SCANNED_MORE = 10_000
"""How many such a list scans at a time after that."""

_PLACES = 5_000
"""How many items are read by their places at a time."""


class ItemLists(Engine):
    """Lists of intel items."""

    def list_intel_items_for_run(self, run_id: str) -> list[IntelItem]:
        """Return a run's items, the oldest first."""
        run_id = self.arguments.text(run_id, "list_intel_items_for_run", "run_id")
        return self.list_intel_items(ItemSelection.of_run(run_id), None, None)[0]

    def list_intel_items(
        self, selection: ItemSelection, limit: int | None, cursor: str | None
    ) -> tuple[list[IntelItem], str | None]:
        """Return items, and the cursor of the next page."""
        most = self.arguments.limit(limit, selection.operation)
        cursor = self.arguments.optional_text(cursor, selection.operation, "cursor")
        if selection.number_column is not None:
            return self._list_ranked(selection, most, cursor)

        def read(session: psycopg.Connection) -> ItemReader:
            after = None if cursor is None else selection.place(cursor, self.store_id)
            return self._list(session, selection, after, most)

        found = self.read(selection.operation, read)
        end = found.end
        return found.items, None if end is None else selection.cursor(*end, self.store_id)

    def page_intel_items(
        self, selection: ItemSelection, after: tuple[str, int] | None, limit: int
    ) -> tuple[list[IntelItem], tuple[str, int] | None]:
        """Return the next items, and the position after them; None on the last page."""
        scanned = _SCANNED if selection.condition_columns else limit

        def read(session: psycopg.Connection) -> ItemReader:
            reader = selection.reader(limit, scanned)
            place = None if after is None else after[1]
            self._scan(session, selection, selection.columns, reader.take, after=place, most=scanned + 1)
            return reader

        found = self.read("iter_intel_items", read)
        return found.items, found.end

    def _list(
        self, session: psycopg.Connection, selection: ItemSelection, after: int | None, limit: int | None
    ) -> ItemReader:
        """Read the first items. Those of a list with conditions may be anywhere: they are sought part by part."""
        sought = bool(selection.condition_columns) and limit is not None
        most = _SCANNED if sought else None if limit is None else limit + 1
        reader = selection.reader(limit)
        self._scan(session, selection, selection.columns, reader.take, after=after, most=most)
        if most is None:
            reader.sort()
        if not sought or reader.is_over or reader.scanned < _SCANNED:
            return reader
        with _moment(session):
            reader = selection.reader(limit)
            before = -1
            while not reader.is_over and reader.scanned > before:
                before = reader.scanned
                self._scan(session, selection, selection.columns, reader.take, after=after, most=_SCANNED_MORE)
                after = reader.last_scanned
        return reader

    def rank_intel_items(self, selection: ItemSelection, after: Ranking | None, most: int) -> Ranking:
        """Rank the first `most` items by the number of the selection's `order_by`, or those behind a ranking."""
        return self.read(
            "iter_intel_items", lambda session: self._rank(session, selection, selection.ranker(most, after))
        )

    def read_ranked_intel_items(
        self, selection: ItemSelection, ranking: Ranking, start: int, stop: int
    ) -> list[IntelItem]:
        """Return some items of a ranking of the same selection, without those that are gone."""
        places = selection.places(ranking, start, stop)
        return self.read("iter_intel_items", lambda session: self._at(session, selection, places))

    def _list_ranked(
        self, selection: ItemSelection, limit: int | None, cursor: str | None
    ) -> tuple[list[IntelItem], str | None]:
        """Return the best items, and the cursor behind them."""
        most = 2**62 if limit is None else limit

        def read(session: psycopg.Connection) -> tuple[list[IntelItem], Ranking]:
            # Both reads are of one moment.
            with _moment(session):
                ranker = selection.ranker(most, None, cursor, self.store_id)
                ranking = self._rank(session, selection, ranker)
                return self._at(session, selection, selection.places(ranking, 0, most)), ranking

        items, ranking = self.read(selection.operation, read)
        return items, selection.cursor_behind(ranking, self.store_id)

    def _rank(self, session: psycopg.Connection, selection: ItemSelection, ranker: Ranker) -> Ranking:
        self._scan(session, selection, [selection.number_column or ""], ranker.take)
        return ranker.ranking()

    def _at(self, session: psycopg.Connection, selection: ItemSelection, places: list[int]) -> list[IntelItem]:
        """Return the items at these places, in their order, that the selection still lets through."""
        where, values = self._of_items(selection)
        reader = selection.reader(None)
        query = (
            f"{self._select(selection, selection.columns)}"
            f" JOIN unnest(%s::bigint[]) WITH ORDINALITY AS wanted(place, number) ON i.seq = wanted.place"
            f" WHERE {where} ORDER BY wanted.number"
        )
        for start in range(0, len(places), _PLACES):
            copy_out(session, query, [places[start : start + _PLACES], *values], reader.take)
        return reader.items

    def count_intel_items(self, selection: ItemSelection) -> int:
        """Return the number of items."""
        return sum(count for _, count in self._tally(selection, None))

    def count_intel_items_by(self, by: str, selection: ItemSelection) -> dict[str | None, int]:
        """Return how many items there are of each decision, type or run, the most frequent first."""
        by = self.arguments.choice(by, selection.operation, "by", ["decision", "item_type", "run_id"])
        return sorted_tally(self._tally(selection, by))

    def _tally(self, selection: ItemSelection, by: str | None) -> list[tuple[str | None, int]]:
        """Return how many items have each text in a column; without one, how many there are."""

        def read(session: psycopg.Connection) -> list[tuple[str | None, int]]:
            if selection.condition_columns:
                tally = selection.tally()
                self._scan(session, selection, [] if by is None else [by], tally.take)
                return tally.counts()
            where, values = self._of_items(selection)
            sql = f"SELECT {by or 'NULL'}, count(*) FROM {self.schema}.intel_items i WHERE {where}"
            return session.execute(f"{sql}{f' GROUP BY {by}' if by else ''}".encode(), values).fetchall()

        return self.read(selection.operation, read)

    def _scan(
        self,
        session: psycopg.Connection,
        selection: ItemSelection,
        columns: list[str],
        take: Callable[[bytes], None],
        *,
        after: int | None = None,
        most: int | None = None,
    ) -> None:
        """Read the first rows behind a place, of one moment; where all are read, in no order."""
        where, values = self._of_items(selection)
        newest = selection.is_newest_first
        if after is not None:
            where += f" AND seq {'<' if newest else '>'} %s"
            values.append(after)
        query = f"{self._select(selection, columns)} WHERE {where}"
        # To sort wide rows takes the server as long as to send them, and it sends none meanwhile.
        if most is not None:
            query += f" ORDER BY seq {'DESC' if newest else 'ASC'} LIMIT %s"
            values.append(min(most, 2**62))
        copy_out(session, query, values, take)

    def _select(self, selection: ItemSelection, columns: list[str]) -> str:
        """Return what selects what the core reads: a place, a time, a column for each condition, and these."""
        wanted = ", ".join(f"i.{column}" for column in ("seq", "created_at", *selection.condition_columns, *columns))
        return f"SELECT {wanted} FROM {self.schema}.intel_items i"

    def _of_items(self, selection: ItemSelection) -> tuple[str, list[Any]]:
        """Return the conditions that the server decides, and their values."""
        run_id, item_type, decision, undecided, since, until = selection.filters
        # With OR, it is a filter. As a join with the only run, or with one that is named, the server expects that no
        # item is left: it would sort all of them for each page, instead of reading the first in their order.
        conditions = [f"(NOT EXISTS ({ITEM_PRUNED.format(schema=self.schema)}) OR FALSE)"]
        values: list[Any] = []
        for condition, text in (
            ("i.run_id = %s", run_id),
            ("i.item_type = %s", item_type),
            ("i.decision = %s", decision),
            ("i.created_at >= %s", since),
            ("i.created_at < %s", until),
        ):
            if text is not None:
                conditions.append(condition)
                values.append(self.arguments.escape(text))
        if undecided is not None:
            conditions.append("i.decision IS NULL" if undecided else "i.decision IS NOT NULL")
        return " AND ".join(conditions), values


@contextmanager
def _moment(session: psycopg.Connection) -> Iterator[None]:
    """Have all reads see the store as of one moment; within a transaction, as it is in that."""
    alone = session.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if alone:
        session.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if alone and not session.closed:
            session.execute(b"ROLLBACK")
