"""The calls of `StateStore` that delete, reclaim space, maintain the file and back it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.state_store.late import importing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from orchestrator.state_store.core import Core
    from orchestrator.state_store.records.upkeep import Checkpointed, Deleted, Finding, Stats, Vacuumed


class Upkeep:
    """Deletion, maintenance and backup: a mixin of `StateStore`."""

    _core: Core

    def delete_run(self, run_id: str, *, force: bool = False) -> Deleted:
        """Delete a run, its items and its telemetry, in one transaction.

        Other writers wait for this transaction: for a run of very many items prefer `prune`. The FOREIGN KEYs of your
        own tables that refer to the run are applied.

        Parameters
        ----------
        run_id
            The run.
        force
            Delete it even if it is `running`.

        Returns
        -------
        Deleted
            How many rows were deleted.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunActiveError
            When it is `running`, and `force` is False.
        InvalidValueError
            When a row of your own table refers to the run and forbids its deletion; the message names the table. Inside
            a transaction, a deferred constraint is checked when the transaction ends: then the transaction raises this,
            and nothing of it is written.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.finish_run("run-1", "completed")
        ...     store.delete_run("run-1")
        Deleted(runs=1, intel_items=0, telemetry=0)
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Deleted

        return Deleted(*self._core.delete_run(run_id, force))

    def prune(
        self,
        *,
        older_than: timedelta | float | None = None,
        keep_last: int | None = None,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        dry_run: bool = False,
        keep_seen: bool = True,
        trust_clock: bool = False,
    ) -> Deleted:
        """Delete old runs with their items and telemetry, while others write. Runs that are `running` stay.

        A run is hidden from readers at once. Its rows are then deleted in short transactions, between which others can
        write. If the call ends early (Ctrl-C, `close()`, a kill), the next prune deletes what it has left. An item that
        comes again meanwhile is not lost with its old run: it belongs to the new one.

        A run to which a row of your own table refers is deleted in one transaction, or is kept if that row forbids the
        deletion. In that case the call raises after all other runs are deleted; the message says how many.

        Parameters
        ----------
        older_than
            Delete runs that finished (or, if that is not known, started) longer ago than this: a timedelta, or seconds.
        keep_last
            Keep this many runs, those recorded last, of this `run_type` and `status`. With `older_than` as well, a run
            is deleted only if it meets both conditions.
        run_type
            Only runs of this type.
        status
            Only runs of this status, or of one of these.
        dry_run
            Only count what would be deleted. Runs whose deletion rows of other tables forbid are not counted, except
            where only a deletion could show it (SET DEFAULT, or a CHECK of such a table).
        keep_seen
            Keep a run if a later run recorded one of its items again: items belong to the run that recorded them first.
            It counts from the earlier of `older_than` ago and the earliest start of a run that `keep_last` keeps. An
            update counts, and a repetition if the item was last noted at least a minute before.
        trust_clock
            Delete by age also where the clock seems wrong, instead of raising ClockError.

        Returns
        -------
        Deleted
            How many rows this call deleted, including those left by an earlier one.

        Raises
        ------
        InvalidValueError
            When neither `older_than` nor `keep_last` is given, or either is negative. When rows of other tables forbid
            deleting a run, after all others are deleted: the message says how many were, and names the first few that
            stay, and the tables.
        TransactionError
            Inside a transaction: leave it first.
        ClockError
            When `older_than` would delete runs, and the clock has moved more than an hour ahead by itself since the
            store was opened, or is more than 400 days beyond the newest time that was in the file then. Nothing is
            deleted; a `dry_run` raises as well. `keep_last` alone needs no clock.
        StoreBusyError
            When another process held the file's lock for `busy_timeout`; the next prune continues.

        Examples
        --------
        >>> from datetime import timedelta
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     for day in range(5):
        ...         run = store.start_run(f"run-{day}", "daily", {})
        ...         store.finish_run(f"run-{day}", "completed")
        ...     store.prune(older_than=timedelta(days=90))
        ...     store.prune(keep_last=3, run_type="daily")
        Deleted(runs=0, intel_items=0, telemetry=0)
        Deleted(runs=2, intel_items=0, telemetry=0)
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Deleted
            from orchestrator.state_store.times import seconds

        age = None if older_than is None else seconds(older_than, "prune", "older_than")
        return Deleted(*self._core.prune(age, keep_last, run_type, status, dry_run, keep_seen, trust_clock))

    def vacuum(self, *, full: bool = False) -> Vacuumed:
        """Return the file's free pages to the file system.

        By default it works in short transactions, between which others can write, and then checkpoints the log so that
        the file shrinks. Free pages are reused before the file grows, so call it only after large deletions.

        Parameters
        ----------
        full
            Rewrite the whole file instead, which also defragments it. It blocks all writers while it runs: many seconds
            per GB. It needs free space of twice the file's size, in the log and in the folder for temporary files
            (`SQLITE_TMPDIR`, `TMPDIR`). A file of the predecessor needs this once; afterwards it shrinks like all
            others.

        Returns
        -------
        Vacuumed
            By how many bytes the file shrank, and why not by more: readers need old pages, others held the lock for
            `busy_timeout` (each step may wait that long), or the predecessor made the file.

        Raises
        ------
        TransactionError
            Inside a transaction: leave it first.
        StoreBusyError
            At once, if another task or greenlet of this thread is inside a transaction.
        DiskFullError
            When there is not enough space.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from orchestrator.state_store import StateStore
        >>> with tempfile.TemporaryDirectory() as folder, StateStore(Path(folder) / "state.db") as store:
        ...     run = store.start_run("run-1", "daily", {"text": "x" * 1_000_000})
        ...     deleted = store.delete_run("run-1", force=True)
        ...     done = store.vacuum()
        >>> done.bytes_freed > 900_000, done.reason
        (True, None)
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Vacuumed

        return Vacuumed(*self._core.vacuum(full))

    def stats(self) -> Stats:
        """Return counts of the file's contents, and counters of this store.

        Returns
        -------
        Stats
            Rows by table and status, bytes of the file and its log, versions, and counters.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     stats = store.stats()
        >>> stats.runs_by_status, stats.commits
        ({'running': 1}, 1)
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Stats

        return Stats(**self._core.stats())

    def check(self, *, stale_after: timedelta | float = 3600) -> list[Finding]:
        """Check the file for problems. It reads the whole file, and changes nothing.

        SQLite checks the structure of the file. Then this looks for rows that belong to a run that does not exist, JSON
        columns with text that is not valid JSON, runs that are `running` but stale, and runs that a prune has hidden
        and that a row of your own table protects from deletion. While the structure is checked the log cannot be
        reused: it grows by everything that others write.

        Parameters
        ----------
        stale_after
            After how long a run that is `running` counts as stale: a timedelta, or seconds, since its latest start,
            heartbeat, item or telemetry write.

        Returns
        -------
        list[Finding]
            The problems; empty if there are none.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.check()
        []
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Finding
            from orchestrator.state_store.times import seconds

        found = self._core.check(seconds(stale_after, "check", "stale_after"))
        return [Finding(*each) for each in found]

    def checkpoint(self) -> Checkpointed:
        """Checkpoint the log (`-wal`) into the file now, and truncate it. The store does so by itself as the log grows.

        Waits up to `busy_timeout` for readers and writers; `complete` is False if they did not finish.

        Returns
        -------
        Checkpointed
            Bytes of the log before and after, and whether all of it was checkpointed.

        Raises
        ------
        TransactionError
            Inside a transaction: leave it first.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from orchestrator.state_store import StateStore
        >>> with tempfile.TemporaryDirectory() as folder, StateStore(Path(folder) / "state.db") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     done = store.checkpoint()
        >>> done.complete, done.wal_bytes_after
        (True, 0)
        """
        with importing():
            from orchestrator.state_store.records.upkeep import Checkpointed

        return Checkpointed(*self._core.checkpoint())

    def backup(
        self,
        dest: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Copy a snapshot of the store to a file, while others can write.

        The copy is a complete store in one file. It is made beside `dest`, checked by SQLite's integrity check, synced,
        and then renamed: `dest` is either complete or unchanged. The copy has everything that was committed before the
        call. Later writes are not in it, and stay in the log (`-wal`) until the copy is made.

        Parameters
        ----------
        dest
            The path of the copy, in a folder that exists; a path or URL as for `StateStore`. Only its owner can read a
            new file, unless the store was opened with another `file_mode`. A process that is killed may leave a file
            with `dest`, a number and `.partial` as its name.
        overwrite
            Replace an existing file. A database that is open, or was not closed, is never replaced; a backup that is
            only being read is.
        progress
            Called every few MB with the number of pages copied and the total number. It may use the store; an exception
            that it raises ends the backup, and propagates.

        Raises
        ------
        CannotOpenError
            When `dest` cannot be created, or exists already.
        TransactionError
            Inside a transaction: leave it first.
        CorruptDatabaseError
            When the copy does not pass the check: the store's own file is damaged.
        DiskFullError, StorageIOError
            When it cannot be written.
        ValueError
            For a store in memory, and for the store's own file.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from orchestrator.state_store import StateStore
        >>> with tempfile.TemporaryDirectory() as folder, StateStore(Path(folder) / "state.db") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.backup(Path(folder) / "monday.db")
        ...     sorted(path.name for path in Path(folder).glob("*.db"))
        ['monday.db', 'state.db']
        """
        self._core.backup(dest, overwrite, progress)
