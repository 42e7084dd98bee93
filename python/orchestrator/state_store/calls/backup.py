"""The calls of `StateStore` about backups."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from orchestrator.state_store import _core


class Backup:
    """Backing up: a mixin of `StateStore`."""

    _core: _core.Store

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
