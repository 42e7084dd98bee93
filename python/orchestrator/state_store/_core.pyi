"""The native core. Use it through `StateStore`; the names here may change."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, final

from _typeshed import SupportsKeysAndGetItem
from orchestrator.state_store.records.item import IntelItem, IntelItemInput

__all__ = [
    "DEBUG_BUILD",
    "SQLITE_VERSION",
    "Arguments",
    "Caller",
    "ItemBatch",
    "ItemReader",
    "ItemSelection",
    "ItemTally",
    "Ranker",
    "Ranking",
    "Rows",
    "RunSelection",
    "Snapshot",
    "Store",
    "Transaction",
    "__version__",
    "locate",
    "rename_new",
    "salvage",
]

DEBUG_BUILD: Final[bool]
"""Whether the core was compiled without optimisation."""

SQLITE_VERSION: Final[str]
"""Version of the SQLite that is compiled in."""

__version__: Final[str]
"""Version of this package."""

def locate(db_path: str | os.PathLike[str], name: str) -> str:
    """Return the path that a str, a path or a URL means; `:memory:` for a store in memory."""

def rename_new(from_: str, to: str) -> None:
    """Rename a file durably, unless there is one of the new name already."""

def salvage(
    path: str | os.PathLike[str], dest: str | os.PathLike[str], progress: Callable[[int, int], object] | None
) -> tuple[
    list[tuple[str, int]],
    list[tuple[str, int | None, str | None, str | None, str]],
    list[tuple[str, int | None, str | None, str | None, str]],
    list[str],
]:
    """Copy what can be read of a damaged file into a new one; return the rows kept, lost and mended, and remarks."""

@final
class ItemSelection:
    """The filters, conditions and fields of a call, checked."""

    def __new__(
        cls,
        operation: str,
        run_id: str | None,
        item_type: str | None,
        decision: str | None,
        undecided: bool | None,
        conditions: Mapping[str, tuple[str, Any]] | None,
        fields: Iterable[str] | None,
        since: str | None,
        until: str | None,
        order: str,
        order_by: str | None,
        /,
    ) -> Self: ...
    @staticmethod
    def of_run(run_id: str) -> ItemSelection:
        """Select all fields of a run's items."""

    @property
    def operation(self) -> str:
        """The name of the call in messages."""

    @property
    def filters(self) -> tuple[str | None, str | None, str | None, bool | None, str | None, str | None]:
        """The run, type, decision, whether none was made, and times."""

    @property
    def is_newest_first(self) -> bool:
        """Whether the newest comes first."""

    @property
    def columns(self) -> list[str]:
        """The columns that `dicts` takes."""

    @property
    def condition_columns(self) -> list[str]:
        """The columns that the conditions are about, one for each."""

    @property
    def number_column(self) -> str | None:
        """The column that the items' number is in, if they are ordered by one."""

    def ranker(self, most: int, after: Ranking | None = None, cursor: str | None = None, store_id: str = "") -> Ranker:
        """Return what ranks the first `most` items behind a ranking or a cursor."""

    def places(self, ranking: Ranking, start: int, stop: int) -> list[int]:
        """Return the places of some items of a ranking, in its order."""

    def cursor_behind(self, ranking: Ranking, store_id: str) -> str | None:
        """Return the cursor behind a ranking; None if there is nothing behind it."""

    def reader(self, limit: int | None, most_scanned: int | None = None) -> ItemReader:
        """Return what reads the first `limit` rows that are kept, of the first `most_scanned`."""

    def tally(self) -> ItemTally:
        """Return what counts the rows that are kept."""

    def dicts(self, rows: Sequence[Sequence[str | None]]) -> list[IntelItem]:
        """Return a dict of each row."""

    def cursor(self, time: str, place: int, store_id: str) -> str:
        """Return the cursor behind a place."""

    def place(self, cursor: str, store_id: str) -> int:
        """Return the place that a cursor is at."""

@final
class Ranker:
    """Ranks items by a number."""

    def take(self, data: bytes) -> None:
        """Take some whole rows of a binary COPY."""

    def ranking(self) -> Ranking:
        """Return the first of those that were taken."""

@final
class ItemReader:
    """Makes dicts of the rows that are kept."""

    def take(self, data: bytes) -> None:
        """Take some whole rows of a binary COPY."""

    def sort(self) -> None:
        """Put the dicts into the selection's order, where the rows came in none."""

    @property
    def items(self) -> list[IntelItem]:
        """The dicts so far."""

    @property
    def scanned(self) -> int:
        """How many rows were looked at."""

    @property
    def last_scanned(self) -> int | None:
        """The place of the last of them."""

    @property
    def is_over(self) -> bool:
        """Whether there are rows behind the last that is wanted."""

    @property
    def end(self) -> tuple[str, int] | None:
        """The time and the place of the last that is wanted, if there are rows behind it."""

@final
class ItemTally:
    """Counts the rows that are kept, by the text of a column."""

    def take(self, data: bytes) -> None:
        """Take some whole rows of a binary COPY."""

    def counts(self) -> list[tuple[str | None, int]]:
        """Return the texts, as they came, and how many rows have each."""

@final
class RunSelection:
    """Runs that are to be listed or counted, checked."""

    def __new__(
        cls,
        operation: str,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
        order: str,
    ) -> Self: ...
    @property
    def filters(self) -> tuple[str | None, str | None, list[str] | None, str | None, str | None]:
        """The prefix, type, statuses and times."""

    def cursor(self, time: str, place: int, store_id: str) -> str:
        """Return the cursor behind a place."""

    def place(self, cursor: str, store_id: str) -> int:
        """Return the place that a cursor is at."""

@final
class Arguments:
    """Checks and converts arguments, for an engine that is written in Python. Text that it makes is escaped."""

    def __new__(cls, json_default: Callable[[Any], Any] | None, strict: bool) -> Self: ...
    def json(self, value: Any, operation: str, name: str) -> str:
        """Return a value as the text of its JSON."""

    def item(self, item: IntelItemInput | SupportsKeysAndGetItem[str, Any]) -> list[str | None]:
        """Return the columns of an item."""

    @staticmethod
    def exhaust(items: Iterable[IntelItemInput | SupportsKeysAndGetItem[str, Any]]) -> list[Any]:
        """Return what the items of a batch are."""

    def items(self, items: list[Any], later: bool) -> ItemBatch:
        """Return items as a batch: encoded, or, with `later`, to be encoded chunk by chunk where they allow that."""

    @staticmethod
    def decisions(
        decisions: Mapping[str, str | tuple[str | None, str | None] | None],
    ) -> list[tuple[str, str | None, str | None]]:
        """Return items, decisions on them and their reasons."""

    @staticmethod
    def text(value: str, operation: str, name: str) -> str:
        """Return a text."""

    @staticmethod
    def optional_text(value: str | None, operation: str, name: str) -> str | None:
        """Return a text or None."""

    @staticmethod
    def texts(value: str | Iterable[str] | None, operation: str, name: str) -> list[str] | None:
        """Return one text or several as a list; None stays None."""

    @staticmethod
    def several_texts(value: Iterable[str], operation: str, name: str) -> list[str]:
        """Return several texts."""

    @staticmethod
    def choice(value: str, operation: str, name: str, choices: list[str]) -> str:
        """Return one of two or three texts."""

    @staticmethod
    def flag(value: bool, name: str) -> bool:
        """Return a bool."""

    @staticmethod
    def limit(value: int | None, operation: str) -> int | None:
        """Return the most rows of a list."""

    @staticmethod
    def count(value: int | None, name: str) -> int | None:
        """Return a number of things."""

    @staticmethod
    def synchronous(value: str) -> bool:
        """Return whether commits are to survive a power cut."""

    @staticmethod
    def busy_timeout(value: float) -> float:
        """Return seconds."""

    @staticmethod
    def pool_size(value: int) -> int:
        """Return the most connections."""

    @staticmethod
    def excerpt(text: str) -> str:
        """Return a text as messages quote it."""

    @staticmethod
    def escape(text: str) -> str:
        """Return a text without NUL."""

@final
class ItemBatch:
    """Items on their way to an engine that is written in Python: each once, sorted, in PostgreSQL's binary form."""

    def __len__(self) -> int: ...
    @property
    def places(self) -> int:
        """How many items came."""

    @property
    def several(self) -> bool:
        """Whether there is more than one chunk."""

    def runs(self) -> list[bytes]:
        """Return the runs, and for messages the place and the id of the first item of each: an array each."""

    def chunk(self, start: int) -> tuple[list[bytes], int] | None:
        """Return places and columns of the items from this one on, an array each, and the item behind them.

        None if one of them cannot be encoded now: it could run code of the user's, or was changed meanwhile.
        """

@final
class Rows:
    """Makes records of rows, for an engine that is written in Python. Text that it is given is escaped."""

    @staticmethod
    def runs(rows: Sequence[Sequence[str | None]], operation: str, changed: bool) -> list[tuple[Any, ...]]:
        """Return the fields of a `RunRecord` for each row; of `changed` runs what cannot be decoded is its text."""

    @staticmethod
    def document(text: str, operation: str, run_id: str) -> Any:
        """Return the document that a text is."""

    @staticmethod
    def merged(before: str, members: str) -> str | None:
        """Return the members of two objects as one; None where either is none."""

    @staticmethod
    def fault(text: str) -> str | None:
        """Return why a text is not JSON; None if it is."""

    @staticmethod
    def unescape(text: str) -> str:
        """Return the text that was escaped."""

@final
class Caller:
    """Recognises who made it: the thread, the task and the context."""

    def __new__(cls) -> Self: ...
    def is_same(self) -> bool:
        """Return whether the caller made it."""

    def is_on_this_thread(self) -> bool:
        """Return whether this thread made it."""

    def is_of_this_task(self) -> bool:
        """Return whether this thread made it in this task."""

    def end(self) -> None:
        """Recognise nobody from now on."""

@final
class Ranking:
    """Items in their order, which are still to be read."""

    def __len__(self) -> int: ...
    @property
    def is_more(self) -> bool:
        """Whether there are items behind its last."""

@final
class Store:
    """A store's connections; `StateStore` documents each call."""

    def __new__(
        cls,
        db_path: str | os.PathLike[str],
        *,
        synchronous: str,
        busy_timeout: float,
        pool_size: int,
        read_only: bool,
        file_mode: int,
        trace_sql: bool,
        json_default: Callable[[Any], Any] | None,
        strict: bool,
    ) -> Self: ...
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
        self, selection: ItemSelection, limit: int | None, cursor: str | None
    ) -> tuple[list[IntelItem], str | None]:
        """Return items, and the cursor of the next page."""

    def page_intel_items(
        self, selection: ItemSelection, after: tuple[str, int] | None, limit: int
    ) -> tuple[list[IntelItem], tuple[str, int] | None]:
        """Return the next items, and the position after them; None on the last page."""

    def rank_intel_items(self, selection: ItemSelection, after: Ranking | None, most: int) -> Ranking:
        """Rank the first `most` items by the number of the selection's `order_by`, or those behind a ranking."""

    def read_ranked_intel_items(
        self, selection: ItemSelection, ranking: Ranking, start: int, stop: int
    ) -> list[IntelItem]:
        """Return some items of a ranking of the same selection, without those that are gone."""

    def count_intel_items(self, selection: ItemSelection) -> int:
        """Return the number of items."""

    def count_intel_items_by(self, by: str, selection: ItemSelection) -> dict[str | None, int]:
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

    @staticmethod
    def copy_fault(table: str, columns: list[str], row: tuple[str | None, ...]) -> str | None:
        """Return why a row cannot be inserted; a file takes any."""

    def end_copy(self, mark: str) -> None:
        """Make it a store like any: the copy is finished."""

    def close(self) -> None:
        """Close every connection."""

@final
class Snapshot:
    """One moment of a store's file."""

    ORDER: Final = "rowid"
    UPDATED_AT: Final = "t.updated_at"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run one pure read; return the rows."""

    def close(self) -> None:
        """Let go of it."""

@final
class Transaction:
    """A transaction of one store: it is entered once, and rolls back if it is dropped unfinished."""

    def __enter__(self) -> Self:
        """Take the writer, or open a savepoint within the caller's transaction."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Commit, or roll back if an exception leaves the block."""

    def __repr__(self) -> str:
        """Show the file and the state of the transaction."""
