"""The calls about intel items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.state_store._core import ItemSelection, Rows
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.faults import error_of, excerpt
from orchestrator.state_store.exceptions import IntelItemNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import psycopg
    from _typeshed import SupportsKeysAndGetItem
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput

Columns = list[str | None]

_CHUNK_ITEMS = 500
_CHUNK_CHARACTERS = 1 << 20
"""How much goes to the server at a time: some memory of its session is as much as that."""

_ITEM_ID, _RUN_ID, _ITEM_TYPE = range(3)
_COLUMNS = 12

ITEM_PRUNED = "SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL"
"""Whether the run of an item is being pruned."""


class IntelItems(Engine):
    """Intel items."""

    def upsert_intel_item(self, item: IntelItemInput | SupportsKeysAndGetItem[str, Any]) -> None:
        """Insert or update one item."""
        [row] = self.arguments.item(item)
        operation = f"upsert_intel_item {excerpt(Rows.unescape(row[_ITEM_ID] or ''))}"
        self._put(operation, [row], of_batch=False)

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | SupportsKeysAndGetItem[str, Any]]) -> None:
        """Insert or update many items in one transaction."""
        self._put("upsert_intel_items_batch", self.arguments.items(items), of_batch=True)

    def _put(self, operation: str, rows: list[Columns], *, of_batch: bool) -> None:
        places: dict[str | None, int] = {}
        for place, row in enumerate(rows):
            places.setdefault(row[_RUN_ID], place)
        run_ids = list(places)
        chunks = list(_chunks(_merged(rows)))
        marks = ", ".join(["%s::integer[]"] + ["%s::text[]"] * _COLUMNS)
        sql = (
            "SELECT place, fault, status, recovered_at, numbers, at"
            f" FROM {self.schema}.put_items_1(%s, %s::text[], %s, %s::bigint[], %s, {marks})"
        ).encode()

        def put(session: psycopg.Connection, wait: int | None) -> None:
            if not chunks:
                return
            alone = wait is not None and len(chunks) > 1
            if alone:
                session.execute(b"BEGIN")
            try:
                numbers, at = None, None
                for number, chunk in enumerate(chunks):
                    columns = [list(column) for column in zip(*(row for _, row in chunk), strict=True)]
                    values = [None if number else wait, run_ids, len(rows), numbers, at]
                    chunk_places = [place for place, _ in chunk]
                    found = session.execute(sql, [*values, chunk_places, *columns]).fetchall()
                    [(place, fault, status, recovered_at, numbers, at)] = found
                    if fault is not None:
                        row = rows[places[run_ids[place - 1]]]
                        error = error_of(fault, Rows.unescape(row[_RUN_ID] or ""), status, recovered_at)
                        if not of_batch:
                            raise error
                        item = f"item {places[row[_RUN_ID]]} ({excerpt(Rows.unescape(row[_ITEM_ID] or ''))})"
                        raise type(error)(f"{item}: {error}")
                if alone:
                    session.execute(b"COMMIT")
            except BaseException:
                if alone and not session.closed:
                    session.execute(b"ROLLBACK")
                raise

        self.write(operation, put)

    def get_intel_item(self, item_id: str) -> IntelItem | None:
        """Return an item; None if there is no such item."""
        item_id = self.arguments.text(item_id, "get_intel_item", "item_id")
        selection = ItemSelection("get_intel_item", None, None, None, None, None, None, None, None, "oldest", None)
        pruned = ITEM_PRUNED.format(schema=self.schema)
        sql = (
            f"SELECT {', '.join(selection.columns)} FROM {self.schema}.intel_items i"
            f" WHERE item_id = %s AND NOT EXISTS ({pruned})"
        ).encode()
        values = [self.arguments.escape(item_id)]
        operation = f"get_intel_item {excerpt(item_id)}"
        found = self.read(operation, lambda session: session.execute(sql, values).fetchall())
        return next(iter(selection.dicts(found)), None)

    def decide(self, item_id: str, decision: str | None, reason: str | None) -> None:
        """Set an item's decision."""
        arguments = self.arguments
        item_id = arguments.text(item_id, "decide", "item_id")
        operation = f"decide {excerpt(item_id)}"
        decision = arguments.optional_text(decision, operation, "decision")
        reason = arguments.optional_text(reason, operation, "reason")
        self._decide(operation, [(item_id, decision, reason)])

    def decide_batch(self, decisions: Mapping[str, str | tuple[str | None, str | None] | None]) -> None:
        """Set the decisions of several items, or of none."""
        self._decide("decide_batch", self.arguments.decisions(decisions))

    def _decide(self, operation: str, decisions: list[tuple[str, str | None, str | None]]) -> None:
        escape = self.arguments.escape
        # A mapping of one's own may have a key twice: the last counts.
        last = {item_id: (decision, reason) for item_id, decision, reason in decisions}
        columns = [
            [escape(item_id) for item_id in last],
            [None if decision is None else escape(decision) for decision, _ in last.values()],
            [None if reason is None else escape(reason) for _, reason in last.values()],
        ]
        sql = f"SELECT {self.schema}.decide_1(%s, %s::text[], %s::text[], %s::text[])".encode()

        def decide(session: psycopg.Connection, wait: int | None) -> None:
            [(missing,)] = session.execute(sql, [wait, *columns]).fetchall()
            if missing is not None:
                shown = excerpt(Rows.unescape(missing))
                raise IntelItemNotFoundError(f"there is no item {shown}; nothing was changed")

        self.write(operation, decide)

    def delete_intel_item(self, item_id: str, force: bool) -> bool:
        """Delete an item; with `force` that of a run that was recovered, too. Return whether there was one."""
        item_id = self.arguments.text(item_id, "delete_intel_item", "item_id")
        force = self.arguments.flag(force, "delete_intel_item: force")
        sql = (
            f"SELECT existed, run_id, fault, status, recovered_at FROM {self.schema}.delete_item_1(%s, %s, %s)"
        ).encode()

        def delete(session: psycopg.Connection, wait: int | None) -> bool:
            values = [wait, self.arguments.escape(item_id), force]
            [(found, run_id, fault, status, recovered_at)] = session.execute(sql, values).fetchall()
            if fault is not None:
                note = "delete_intel_item with force=True deletes the item nevertheless"
                raise error_of(fault, Rows.unescape(run_id), status, recovered_at, note)
            return bool(found)

        return self.write(f"delete_intel_item {excerpt(item_id)}", delete, repeats=False)


def _merged(rows: list[Columns]) -> list[tuple[int, Columns]]:
    """Return each item once, sorted by its id, with its place: run, type and place of the first, the rest of the last.

    Batches that lock the same rows in the same order cannot wait for each other.
    """
    found: dict[str | None, tuple[int, Columns]] = {}
    for place, row in enumerate(rows):
        before = found.get(row[_ITEM_ID])
        if before is None:
            found[row[_ITEM_ID]] = place, row
        else:
            found[row[_ITEM_ID]] = before[0], [*before[1][: _ITEM_TYPE + 1], *row[_ITEM_TYPE + 1 :]]
    return sorted(found.values(), key=lambda each: each[1][_ITEM_ID] or "")


def _chunks(rows: list[tuple[int, Columns]]) -> Iterator[list[tuple[int, Columns]]]:
    chunk: list[tuple[int, Columns]] = []
    size = 0
    for each in rows:
        chunk.append(each)
        size += sum(len(text) for text in each[1] if text is not None)
        if len(chunk) >= _CHUNK_ITEMS or size >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
