"""The calls about intel items."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orchestrator.state_store._core import ItemBatch, ItemSelection, Rows
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.faults import error_of, excerpt
from orchestrator.state_store._postgres.pipeline import Abandoned
from orchestrator.state_store._postgres.wire import Wire
from orchestrator.state_store.exceptions import IntelItemNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from _typeshed import SupportsKeysAndGetItem
    from orchestrator.state_store._postgres.pipeline import Statement
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput

_NO_RUNS = (None,) * 5
"""What the calls of a batch behind its first are given in its place."""

ITEM_PRUNED = "SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL"
"""Whether the run of an item is being pruned."""


class IntelItems(Engine):
    """Intel items."""

    _encodes_later = True
    """Whether a batch is encoded while it is sent, as far as its items allow that."""

    def upsert_intel_item(self, item: IntelItemInput | SupportsKeysAndGetItem[str, Any]) -> None:
        """Insert or update one item."""
        columns = self.arguments.item(item)
        function = f"{self.schema}.put_item_3"
        operation = f"upsert_intel_item {excerpt(Rows.unescape(columns[0] or ''))}"
        if self.own() is None:
            self.write(operation, lambda session, wait: session.call(function, [wait, self.lock_key, *columns]))
        else:
            sql = f"SELECT {function}({', '.join(['%s'] * 14)})".encode()
            self.send(operation, lambda wait: [(sql, [wait, self.lock_key, *columns])])

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | SupportsKeysAndGetItem[str, Any]]) -> None:
        """Insert or update many items in one transaction."""
        given = self.arguments.exhaust(items)
        with suppress(Abandoned):
            self._put(self.arguments.items(given, self._encodes_later))
            return
        batch = self.arguments.items(given, False)
        # Where one such item came, others will: the server would write much of each batch twice.
        self._encodes_later = False
        self._put(batch)

    def _put(self, batch: ItemBatch) -> None:
        operation = "upsert_intel_items_batch"
        sql = f"SELECT {self.schema}.put_items_3({', '.join(['%s'] * 18)})".encode()

        def put(wait: int | None) -> Iterator[Statement]:
            of_runs: Sequence[Any] = (wait, batch.places, *map(Wire, batch.runs()))
            start = 0
            while start < len(batch):
                chunk = batch.chunk(start)
                if chunk is None:
                    raise Abandoned
                arrays, start = chunk
                yield sql, [*of_runs, *map(Wire, arrays)]
                of_runs = _NO_RUNS

        if len(batch):
            self.send(operation, put, several=batch.several)
        else:
            self.write(operation, lambda session, wait: None)

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

        [(missing,)] = self.send(operation, lambda wait: [(sql, [wait, *columns])])
        if missing is not None:
            shown = excerpt(Rows.unescape(missing))
            raise IntelItemNotFoundError(f"{operation}: there is no item {shown}; nothing was changed")

    def delete_intel_item(self, item_id: str, force: bool) -> bool:
        """Delete an item; with `force` that of a run that was recovered, too. Return whether there was one."""
        item_id = self.arguments.text(item_id, "delete_intel_item", "item_id")
        force = self.arguments.flag(force, "delete_intel_item: force")
        sql = (
            f"SELECT existed, run_id, fault, status, recovered_at FROM {self.schema}.delete_item_1(%s, %s, %s)"
        ).encode()

        operation = f"delete_intel_item {excerpt(item_id)}"
        values = [self.arguments.escape(item_id), force]
        [(found, run_id, fault, status, recovered_at)] = self.send(
            operation, lambda wait: [(sql, [wait, *values])], repeats=False
        )
        if fault is not None:
            note = "delete_intel_item with force=True deletes the item nevertheless"
            error = error_of(fault, Rows.unescape(run_id), status, recovered_at, note)
            raise type(error)(f"{operation}: {error}")
        return bool(found)
