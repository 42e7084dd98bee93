"""The calls that list and count intel items."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from orchestrator.state_store._core import ItemSelection
from orchestrator.state_store._postgres.calls.intel_items import ITEM_PRUNED
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.tally import sorted_tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.state_store._core import Ranker, Ranking
    from orchestrator.state_store.records.item import IntelItem

_MOST_SCANNED = 10_000
"""How many items a page of an iteration scans, at most: no read stays open for long."""

_FETCHED = 500
"""How many rows of a long read come at a time."""

Row = tuple[Any, ...]


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

        def read(session: psycopg.Connection) -> tuple[list[Row], Row | None]:
            after = None if cursor is None else selection.place(cursor, self.store_id)
            return self._page(session, selection, after, most, None)

        rows, last = self.read(selection.operation, read)
        end = None if last is None else selection.cursor(last[-2], last[-1], self.store_id)
        return selection.dicts([row[:-2] for row in rows]), end

    def page_intel_items(
        self, selection: ItemSelection, after: tuple[str, int] | None, limit: int
    ) -> tuple[list[IntelItem], tuple[str, int] | None]:
        """Return the next items, and the position after them; None on the last page."""
        place = None if after is None else after[1]
        rows, last = self.read(
            "iter_intel_items", lambda session: self._page(session, selection, place, limit, _MOST_SCANNED)
        )
        return selection.dicts([row[:-2] for row in rows]), None if last is None else (last[-2], last[-1])

    def rank_intel_items(self, selection: ItemSelection, after: Ranking | None, most: int) -> Ranking:
        """Rank the first `most` items by the number of the selection's `order_by`, or those behind a ranking."""
        ranker = selection.ranker(most, after)
        return self.read("iter_intel_items", lambda session: self._rank(session, selection, ranker))

    def read_ranked_intel_items(
        self, selection: ItemSelection, ranking: Ranking, start: int, stop: int
    ) -> list[IntelItem]:
        """Return some items of a ranking of the same selection, without those that are gone."""
        places = selection.places(ranking, start, stop)
        return selection.dicts(self.read("iter_intel_items", lambda session: self._at(session, selection, places)))

    def _list_ranked(
        self, selection: ItemSelection, limit: int | None, cursor: str | None
    ) -> tuple[list[IntelItem], str | None]:
        """Return the best items, and the cursor behind them."""
        most = 2**62 if limit is None else limit

        def read(session: psycopg.Connection) -> tuple[list[Row], Ranking]:
            # Both reads are of one moment.
            with _moment(session):
                ranker = selection.ranker(most, None, cursor, self.store_id)
                ranking = self._rank(session, selection, ranker)
                return self._at(session, selection, selection.places(ranking, 0, most)), ranking

        rows, ranking = self.read(selection.operation, read)
        return selection.dicts(rows), selection.cursor_behind(ranking, self.store_id)

    def _rank(self, session: psycopg.Connection, selection: ItemSelection, ranker: Ranker) -> Ranking:
        with self._scan(session, selection, [selection.number_column or ""], None, None, stream=True) as rows:
            for row, kept in rows:
                if kept:
                    ranker.add(row[0], row[-1])
        return ranker.ranking()

    def _at(self, session: psycopg.Connection, selection: ItemSelection, places: list[int]) -> list[Row]:
        """Return the rows at these places, in their order, that the selection still lets through."""
        where, values = self._of_items(selection)
        tested = selection.condition_columns
        sql = (
            f"SELECT {', '.join([*tested, *selection.columns])} FROM {self.schema}.intel_items i"
            f" JOIN unnest(%s::bigint[]) WITH ORDINALITY AS wanted(place, number) ON i.seq = wanted.place"
            f" WHERE {where} ORDER BY wanted.number"
        )
        found: list[Row] = []
        for start in range(0, len(places), _FETCHED):
            rows = session.execute(sql.encode(), [places[start : start + _FETCHED], *values])
            found += [row[len(tested) :] for row in rows if selection.keeps(row[: len(tested)])]
        return found

    def count_intel_items(self, selection: ItemSelection) -> int:
        """Return the number of items."""

        def read(session: psycopg.Connection) -> int:
            if not selection.condition_columns:
                where, values = self._of_items(selection)
                sql = f"SELECT count(*) FROM {self.schema}.intel_items i WHERE {where}"
                [(count,)] = session.execute(sql.encode(), values).fetchall()
                return int(count)
            with self._scan(session, selection, [], None, None) as rows:
                return sum(kept for _, kept in rows)

        return self.read("count_intel_items", read)

    def count_intel_items_by(self, by: str, selection: ItemSelection) -> dict[str | None, int]:
        """Return how many items there are of each decision, type or run, the most frequent first."""
        by = self.arguments.choice(by, selection.operation, "by", ["decision", "item_type", "run_id"])

        def read(session: psycopg.Connection) -> dict[str | None, int]:
            if not selection.condition_columns:
                where, values = self._of_items(selection)
                sql = f"SELECT {by}, count(*) FROM {self.schema}.intel_items i WHERE {where} GROUP BY 1"
                return sorted_tally(session.execute(sql.encode(), values).fetchall())
            with self._scan(session, selection, [by], None, None) as rows:
                return sorted_tally(Counter(row[0] for row, kept in rows if kept).items())

        return self.read("count_intel_items_by", read)

    def _page(
        self,
        session: psycopg.Connection,
        selection: ItemSelection,
        after: int | None,
        limit: int | None,
        most_scanned: int | None,
    ) -> tuple[list[Row], Row | None]:
        """Return rows of the selection's columns, time and place; and the last one, if any may be left behind it."""
        found: list[Row] = []
        last: Row | None = None
        if not selection.condition_columns:
            most_scanned = None
        wanted = None if limit is None else limit + 1
        if most_scanned is not None:
            wanted = most_scanned + 1
        elif selection.condition_columns:
            wanted = None
        scanned = 0
        with self._scan(session, selection, selection.columns, after, wanted) as rows:
            for row, kept in rows:
                if scanned == most_scanned or (kept and len(found) == limit):
                    return found, last
                scanned += 1
                if kept:
                    found.append(row)
                if kept or most_scanned is not None:
                    last = row
        return found, None

    @contextmanager
    def _scan(
        self,
        session: psycopg.Connection,
        selection: ItemSelection,
        columns: list[str],
        after: int | None,
        wanted: int | None,
        *,
        stream: bool = False,
    ) -> Iterator[Iterator[tuple[Row, bool]]]:
        """Read rows of these columns, time and place, and say of each whether the conditions hold, in one snapshot."""
        where, values = self._of_items(selection)
        newest = selection.is_newest_first
        if after is not None:
            where += f" AND seq {'<' if newest else '>'} %s"
            values.append(after)
        tested = selection.condition_columns
        sql = (
            f"SELECT {', '.join([*tested, *columns, 'created_at', 'seq'])} FROM {self.schema}.intel_items i"
            f" WHERE {where} ORDER BY seq {'DESC' if newest else 'ASC'}"
        )
        if wanted is not None:
            sql += " LIMIT %s"
            values.append(min(wanted, 2**62))
        if not (tested or stream):
            yield ((row, True) for row in session.execute(sql.encode(), values))
            return
        with _moment(session), session.cursor(name="scan") as cursor:
            cursor.itersize = _FETCHED
            cursor.execute(sql.encode(), values)
            size = len(tested)
            yield ((row[size:], selection.keeps(row[:size])) for row in cursor)

    def _of_items(self, selection: ItemSelection) -> tuple[str, list[Any]]:
        """Return the conditions that the server decides, and their values."""
        run_id, item_type, decision, undecided, since, until = selection.filters
        conditions = [f"NOT EXISTS ({ITEM_PRUNED.format(schema=self.schema)})"]
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
