"""The calls of `StateStore` that delete, reclaim space, maintain the file and back it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from orchestrator.state_store import _core
    from orchestrator.state_store.records.upkeep import Checkpointed, Deleted, Finding, Stats, Vacuumed


class Upkeep:
    """Deletion, maintenance and backup: a mixin of `StateStore`."""

    _core: _core.Store

    def delete_run(self, run_id: str, *, force: bool = False) -> Deleted:
        """Delete a run with its items and telemetry: all of it, or nothing.

        It is one transaction, and other writers wait for it: for a run of very many items prefer `prune`. Rows of your
        own tables that refer to the run follow their FOREIGN KEY.

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
            When a row of a table of your own refers to it and forbids it; the message names the table. Inside a
            transaction, a deferred constraint is checked when the transaction ends: it then raises this, and nothing of
            it is written.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.finish_run("run-1", "completed")
        ...     store.delete_run("run-1")
        Deleted(runs=1, intel_items=0, telemetry=0)
        """
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
    ) -> Deleted:
        """Delete old runs with their items and telemetry, while others write. Runs that are `running` stay.

        A run disappears for readers at once. Its rows are then deleted in short transactions, between which others
        write. If the call ends early (Ctrl-C, `close()`, a kill), the next prune deletes what it has left. An item that
        comes again meanwhile is not lost with its old run: it belongs to the new one.

        A run to which a row of a table of your own refers is deleted in one transaction, or stays as it is if that row
        forbids it. The call then raises, after all other runs are deleted; the message says how many.

        Parameters
        ----------
        older_than
            Delete runs that finished (or, where that is not known, started) longer ago than this: a timedelta, or
            seconds.
        keep_last
            Keep this many of the newest runs, by `started_at`, of this `run_type` and `status`. With `older_than` as
            well, a run is deleted only if it meets both conditions.
        run_type
            Only runs of this type.
        status
            Only runs of this status, or of one of these.
        dry_run
            Count what would be deleted, and change nothing. Runs that rows of other tables forbid deleting are not
            counted, as far as that shows without trying (not with SET DEFAULT, or a CHECK of such a table).
        keep_seen
            Keep a run if a later run recorded one of its items again: items belong to the run that recorded them first.
            It counts from the earlier of `older_than` ago and the start of the oldest run that `keep_last` keeps. An
            update counts, and a repetition if the item was last noted at least a minute before.

        Returns
        -------
        Deleted
            How many rows this call deleted, with those that an earlier one had left.

        Raises
        ------
        InvalidValueError
            When neither `older_than` nor `keep_last` is given, or either is negative. When rows of other tables forbid
            deleting a run, after all others are deleted: the message says how many were, and names the first few that
            stay, and the tables.
        TransactionError
            Inside a transaction: leave it first.
        StoreBusyError
            When another process held the file's lock for `busy_timeout`; the next prune goes on.

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
        from orchestrator.state_store.records.upkeep import Deleted
        from orchestrator.state_store.times import seconds

        age = None if older_than is None else seconds(older_than, "prune", "older_than")
        return Deleted(*self._core.prune(age, keep_last, run_type, status, dry_run, keep_seen))

    def vacuum(self, *, full: bool = False) -> Vacuumed:
        """Give the file's free pages back to the file system.

        By default it works in short transactions, between which others write, and then the log is checkpointed
        so that the file shrinks. Free pages are used again before the file grows: it is worth it after much was
        deleted.

        Parameters
        ----------
        full
            Rewrite the whole file instead, which also defragments it. It blocks all writers while it runs: many seconds
            a GB. It needs room for the file twice more, in the log and
            in the folder for temporary files (`SQLITE_TMPDIR`, `TMPDIR`). A file of the predecessor can shrink only so,
            and afterwards as all others do.

        Returns
        -------
        Vacuumed
            How many bytes the file is smaller by, and why not more: readers need old pages, or others held the lock for
            `busy_timeout` (each step may wait so long), or the predecessor made the file.

        Raises
        ------
        TransactionError
            Inside a transaction: leave it first.
        StoreBusyError
            At once, where another task or greenlet of this thread is inside a transaction.
        DiskFullError
            When there is no room.

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
        from orchestrator.state_store.records.upkeep import Vacuumed

        return Vacuumed(*self._core.vacuum(full))

    def stats(self) -> Stats:
        """Count what is in the file, and what this store has done to it.

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
        from orchestrator.state_store.records.upkeep import Stats

        return Stats(**self._core.stats())

    def check(self, *, stale_after: timedelta | float = 3600) -> list[Finding]:
        """Check the file for problems; it reads all of it, and changes nothing.

        SQLite checks the structure of the file. Then come rows that belong to a run that does not exist, JSON columns
        that hold text that is not valid JSON, runs that are `running` but stale, and runs that a prune has hidden and
        that a row of a table of your own forbids deleting. While the structure is checked the log cannot start over: it
        grows by what others write.

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
        from orchestrator.state_store.records.upkeep import Finding
        from orchestrator.state_store.times import seconds

        found = self._core.check(seconds(stale_after, "check", "stale_after"))
        return [Finding(*each) for each in found]

    def checkpoint(self) -> Checkpointed:
        """Checkpoint the log (`-wal`) into the file now, and empty it. The store does so by itself as the log grows.

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
        from orchestrator.state_store.records.upkeep import Checkpointed

        return Checkpointed(*self._core.checkpoint())

    def backup(
        self,
        dest: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Copy the store to a file, as it is at this moment, while others go on writing.

        The copy is a whole store in one file. It is made beside `dest`, checked by SQLite's integrity check, synced,
        and only then given its name: `dest` is whole, or not there (or what it was before). All that was committed
        when the call began is in it. What others write meanwhile is not, and stays in the log (`-wal`) until the copy
        is made.

        Parameters
        ----------
        dest
            Where to put it, in a folder that exists; read as `StateStore` reads `db_path`. A new file is for its owner
            only, unless the store was opened with another `file_mode`. A process that is killed may leave a file with
            `dest`, a number and `.partial` as its name.
        overwrite
            Replace the file that is there. A database that is open there, or was not closed, is never replaced.
        progress
            Called every few MB with the number of pages copied and of pages in all. It may use the store; an exception
            that it raises ends the backup, and passes on.

        Raises
        ------
        CannotOpenError
            When `dest` cannot be created, or is there already.
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
