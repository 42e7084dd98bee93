"""The results of deletion and maintenance."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Deleted:
    """How many rows were deleted; with `dry_run=True`, how many would be.

    Attributes
    ----------
    runs
        Number of runs.
    intel_items
        Number of their items.
    telemetry
        Number of their telemetry documents.
    """

    __module__ = "orchestrator.state_store"

    runs: int
    intel_items: int
    telemetry: int


@dataclass(frozen=True)
class Vacuumed:
    """The result of `StateStore.vacuum`.

    Attributes
    ----------
    bytes_freed
        By how many bytes the file is smaller.
    reason
        Why free pages are left; None if none are.
    """

    __module__ = "orchestrator.state_store"

    bytes_freed: int
    reason: str | None


@dataclass(frozen=True)
class Checkpointed:
    """The result of `StateStore.checkpoint`.

    Attributes
    ----------
    wal_bytes_before
        Bytes of the log (`-wal`) before.
    wal_bytes_after
        Bytes of the log after.
    complete
        Whether all of it was checkpointed.
    """

    __module__ = "orchestrator.state_store"

    wal_bytes_before: int
    wal_bytes_after: int
    complete: bool


@dataclass(frozen=True)
class Stats:
    """Counts of a file's contents, and counters of this store since it was opened (or its process forked).

    Attributes
    ----------
    runs
        How many runs there are.
    runs_by_status
        How many there are of each status.
    intel_items
        How many items there are.
    telemetry
        How many telemetry documents there are.
    file_bytes
        Bytes of the database file; of a store in memory, those of its pages.
    wal_bytes
        Bytes of the log (`-wal`) beside it.
    free_bytes
        Bytes of free pages. They are reused before the file grows; `StateStore.vacuum` returns them to the file system.
    page_size
        Bytes of a page.
    sqlite_version
        Version of the SQLite that is compiled in.
    schema_version
        Version of the file's schema.
    commits
        Commits of this store.
    grouped_writes
        Calls that shared another call's commit.
    syncs
        Syncs of the log by this store.
    checkpoints
        Times that this store checkpointed all of the log.
    hard_links
        How many names the file has; 0 in memory. With several, a program that opens it by another name loses writes.
    failed_syncs
        Syncs by this store, of the log or of the file, that the disk failed.
    panicked
        Name of the worker thread of this store that panicked, or None. Every other call raises then: close the store
        and open it again.
    """

    __module__ = "orchestrator.state_store"

    runs: int
    runs_by_status: dict[str, int]
    intel_items: int
    telemetry: int
    file_bytes: int
    wal_bytes: int
    free_bytes: int
    page_size: int
    sqlite_version: str
    schema_version: int
    commits: int
    grouped_writes: int
    syncs: int
    checkpoints: int
    hard_links: int
    failed_syncs: int
    panicked: str | None


@dataclass(frozen=True)
class Finding:
    """A problem that `StateStore.check` found.

    Attributes
    ----------
    kind
        `"integrity"`: the file's structure is damaged. `"foreign_key"`: a row belongs to a run that does not exist.
        `"json"`: a JSON column holds what is not valid JSON. `"text"`: another column holds text that is not UTF-8, or
        no text. `"stale_run"`: a run is `running`, but has had no heartbeat and no write for `stale_after`.
        `"hard_link"`: the file has several names, each of which would have a log of its own. `"held_run"`: a run is
        being pruned, but a row of your own table forbids its deletion. `"sync"`: the disk failed syncs of this store,
        and the log has not been checkpointed as a whole since.
    table
        The table that it is in, or None.
    id
        The `run_id` or `item_id` of the row, or None.
    message
        What is wrong, in one line.
    """

    __module__ = "orchestrator.state_store"

    kind: Literal["integrity", "foreign_key", "json", "text", "stale_run", "hard_link", "held_run", "sync"]
    table: str | None
    id: str | None
    message: str


@dataclass(frozen=True)
class Loss:
    """A row that `salvage` lost, or what it lost of a row.

    Attributes
    ----------
    table
        The table that it was in.
    rowid
        Where it was in the table, or None.
    id
        The `run_id` or `item_id` of the row, or None where it is not known.
    column
        The column that could not be decoded; None where the row could not be read.
    why
        Why it was lost, in one line.
    """

    __module__ = "orchestrator.state_store"

    table: str
    rowid: int | None
    id: str | None
    column: str | None
    why: str


@dataclass(frozen=True)
class Salvaged:
    """The result of `salvage`.

    Attributes
    ----------
    kept
        How many rows of each table are in the new file.
    lost
        Rows that are known to have been in the file, and are not in the new one.
    mended
        What was lost of rows that are in the new file; and runs that stand in for lost ones whose items are kept.
    remarks
        What else is not in the new file, or may not be: rowids that cannot be read and that no index names, a log that
        cannot be read, tables and columns of your own. One line each.
    """

    __module__ = "orchestrator.state_store"

    kept: dict[str, int]
    lost: list[Loss]
    mended: list[Loss]
    remarks: list[str]


@dataclass(frozen=True)
class CopyProgress:
    """How far `copy_store` is.

    Attributes
    ----------
    step
        `"survey"`: the source is read, to find what cannot be copied. `"copy"`: its rows are written. `"verify"`: what
        was written is read and compared.
    rows, total_rows
        Rows of this step so far, and in all. A copy that goes on begins with what is there already.
    bytes, total_bytes
        Bytes of text in them.
    """

    __module__ = "orchestrator.state_store"

    step: Literal["survey", "copy", "verify"]
    rows: int
    total_rows: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Copied:
    """The result of `copy_store`.

    Attributes
    ----------
    runs, intel_items, telemetry
        How many rows the copy has.
    digest
        SHA-256 over all rows, in the order of recording, by which copies can be compared: 64 hexadecimal digits.
    """

    __module__ = "orchestrator.state_store"

    runs: int
    intel_items: int
    telemetry: int
    digest: str
