"""What `StateStore` asks of an engine: the calls of `_core.Store`, which every other engine has too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Literal, Self

    from _typeshed import SupportsKeysAndGetItem
    from orchestrator.state_store import _core
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput


class Transaction(Protocol):
    """What `StateStore.transaction` returns: it is entered once, and rolls back if it is dropped unfinished."""

    def __enter__(self) -> Self:
        """Begin the transaction, or a savepoint within the caller's."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Commit, or roll back if an exception leaves the block."""


Transaction.__module__ = "orchestrator.state_store"


class Snapshot(Protocol):
    """One moment of a store, for reads of its rows as they are, while others write."""

    @property
    def ORDER(self) -> str:
        """The column of a table that its rows are recorded in the order of."""

    @property
    def UPDATED_AT(self) -> str:
        """SQL of when an item, a row `t` of its table, came again last."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one pure read; return the rows."""

    def close(self) -> None:
        """Let go of it."""


class Core(Protocol):
    """A store's connections; `StateStore` documents each call."""

    @property
    def db_path(self) -> str:
        """The path that `db_path` names."""

    @property
    def location(self) -> str:
        """Where the store is, as messages name it."""

    @property
    def closed(self) -> bool:
        """Whether the store is closed."""

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any, if_exists: str) -> str | tuple[Any, ...]:
        """Record a new run and return its `started_at`; or the `RunRecord` fields of an existing one."""

    def finish_run(self, run_id: str, status: str, notes: str | None, force: bool, *, if_running: bool = False) -> bool:
        """Finish a run; with `force` also one that was recovered, with `if_running` only one that is running.

        Return False inside the caller's transaction, which may undo it.
        """

    def heartbeat(self, run_id: str) -> None:
        """Record a run's heartbeat."""

    def reopen_run(self, run_id: str) -> None:
        """Reopen a run that was recovered."""

    def begin_heartbeats(self, run_id: str) -> None:
        """Have a thread record a run's heartbeats."""

    def end_heartbeats(self, run_id: str) -> None:
        """Stop that."""

    def recover_stale_runs(self, older_than: float, status: str, trust_clock: bool) -> list[tuple[Any, ...]]:
        """Finish the runs without a heartbeat or a write for so many seconds; return each's `RunRecord` fields."""

    def get_run(self, run_id: str) -> tuple[Any, ...] | None:
        """Return the fields of a run's `RunRecord`; None if there is no such run."""

    def list_runs(
        self,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
        order: str,
        limit: int | None,
        cursor: str | None,
    ) -> tuple[list[tuple[Any, ...]], str | None]:
        """Return the fields of runs, and the cursor of the next page."""

    def count_runs(
        self,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
    ) -> int:
        """Return the number of runs."""

    def count_runs_by(
        self,
        by: str,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
    ) -> dict[str, int]:
        """Return how many runs there are of each status or type, the most frequent first."""

    def upsert_intel_item(self, item: IntelItemInput | SupportsKeysAndGetItem[str, Any]) -> None:
        """Insert or update one item."""

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | SupportsKeysAndGetItem[str, Any]]) -> None:
        """Insert or update many items in one transaction."""

    def list_intel_items_for_run(self, run_id: str) -> list[IntelItem]:
        """Return a run's items, the oldest first."""

    def get_intel_item(self, item_id: str) -> IntelItem | None:
        """Return an item; None if there is no such item."""

    def list_intel_items(
        self, selection: _core.ItemSelection, limit: int | None, cursor: str | None
    ) -> tuple[list[IntelItem], str | None]:
        """Return items, and the cursor of the next page."""

    def page_intel_items(
        self, selection: _core.ItemSelection, after: tuple[str, int] | None, limit: int
    ) -> tuple[list[IntelItem], tuple[str, int] | None]:
        """Return the next items, and the position after them; None on the last page."""

    def rank_intel_items(self, selection: _core.ItemSelection, after: _core.Ranking | None, most: int) -> _core.Ranking:
        """Rank the first `most` items by the number of the selection's `order_by`, or those behind a ranking."""

    def read_ranked_intel_items(
        self, selection: _core.ItemSelection, ranking: _core.Ranking, start: int, stop: int
    ) -> list[IntelItem]:
        """Return some items of a ranking of the same selection, without those that are gone."""

    def count_intel_items(self, selection: _core.ItemSelection) -> int:
        """Return the number of items."""

    def count_intel_items_by(self, by: str, selection: _core.ItemSelection) -> dict[str | None, int]:
        """Return how many items there are of each decision, type or run, the most frequent first."""

    def decide(self, item_id: str, decision: str | None, reason: str | None) -> None:
        """Set an item's decision."""

    def decide_batch(self, decisions: Mapping[str, str | tuple[str | None, str | None] | None]) -> None:
        """Set the decisions of several items, or of none."""

    def delete_intel_item(self, item_id: str, force: bool) -> bool:
        """Delete an item; with `force` that of a run that was recovered, too. Return whether there was one."""

    def write_telemetry(self, run_id: str, telemetry: Any, force: bool) -> None:
        """Set a run's telemetry document; with `force` that of one that was recovered, too."""

    def merge_telemetry(self, run_id: str, telemetry: dict[Any, Any], force: bool) -> None:
        """Put the items of a dict over those of a run's telemetry document."""

    def get_telemetry(self, run_id: str) -> Any:
        """Return a run's telemetry document; None if it has none."""

    def list_telemetry(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the telemetry documents of those of these runs that have one."""

    def delete_run(self, run_id: str, force: bool) -> tuple[int, int, int]:
        """Delete a run; return the numbers of runs, items and telemetry documents deleted."""

    def prune(
        self,
        older_than: float | None,
        keep_last: int | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        dry_run: bool,
        keep_seen: bool,
        trust_clock: bool,
    ) -> tuple[int, int, int]:
        """Delete finished runs; return the numbers of runs, items and telemetry documents deleted."""

    def vacuum(self, full: bool) -> tuple[int, str | None]:
        """Return free pages to the file system; return how many bytes, and why not more."""

    def stats(self) -> dict[str, Any]:
        """Return the fields of `Stats` by name."""

    def check(
        self, stale_after: float
    ) -> list[
        tuple[
            Literal["integrity", "foreign_key", "json", "text", "stale_run", "hard_link", "held_run", "sync"],
            str | None,
            str | None,
            str,
        ]
    ]:
        """Return the problems: kind, table, id and message of each finding."""

    def checkpoint(self) -> tuple[int, int, bool]:
        """Checkpoint the log; return its bytes before and after, and whether all of it was checkpointed."""

    def transaction(self) -> Transaction:
        """Return a transaction that is not entered yet."""

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]
    ) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Run one pure read; return the column names and the rows."""

    def backup(
        self, dest: str | os.PathLike[str], overwrite: bool, progress: Callable[[int, int], object] | None
    ) -> None:
        """Copy the store to a file while others write; `progress` is called with pages copied and pages in all."""

    def pin(self) -> Snapshot:
        """Pin the store as it is now, for reads while others write."""

    def copy_mark(self) -> str | None:
        """Return the mark of a copy that is not finished; None where there is none."""

    def begin_copy(self, mark: str) -> None:
        """Make the store a copy that is not finished, without rows."""

    def copy_rows(
        self, table: str, columns: list[str], rows: list[tuple[str | None, ...]], before: str, mark: str
    ) -> None:
        """Insert rows as they are, and set the mark, which must be `before`; all or nothing."""

    def copy_fault(self, table: str, columns: list[str], row: tuple[str | None, ...]) -> str | None:
        """Return why a row cannot be inserted; None if it can."""

    def end_copy(self, mark: str) -> None:
        """Make it a store like any: the copy is finished."""

    def close(self) -> None:
        """Close every connection."""
