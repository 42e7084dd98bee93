"""Copying what can be read of a damaged file into a new one."""

from __future__ import annotations

import os
from collections.abc import Callable

from orchestrator.state_store import _core
from orchestrator.state_store.records.upkeep import Loss, Salvaged


def salvage(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Salvaged:
    """Copy what can be read of a damaged store's file into a new file.

    The file is read around its damage, by ranges of rowids and by what its indexes name, together with its log (`-wal`)
    if that can be read. It is never written to. Close the stores on it first. Of a row with a cell that no list could
    read, the rest is kept: an empty list or dict stands in for JSON, and U+FFFD for what is not UTF-8.

    Parameters
    ----------
    path
        The damaged file.
    dest
        The new file, in a folder that exists. A file that is there is never replaced. It has its name once it is whole;
        a process that is killed may leave files with `dest`, a number and `.partial` in their names.
    progress
        Called now and then with the number of rows kept and lost so far. An exception that it raises ends the salvage,
        and passes on.

    Returns
    -------
    Salvaged
        How many rows of each table were kept, and which were lost or mended, and why.

    Raises
    ------
    CannotOpenError
        When `path` cannot be read, or `dest` cannot be created or is there already.
    NotADatabaseError, ForeignDatabaseError, CorruptDatabaseError
        When nothing of a store can be found in it, as where its first page is destroyed.
    StoreBusyError
        When somebody writes to it meanwhile.
    DiskFullError, StorageIOError
        When `dest` cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from orchestrator.state_store import StateStore, salvage
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StateStore(Path(folder) / "state.db") as store:
    ...         run = store.start_run("run-1", "daily", {})
    ...     report = salvage(Path(folder) / "state.db", Path(folder) / "salvaged.db")
    ...     report.kept, report.lost
    ({'runs': 1, 'intel_items': 0, 'telemetry': 0}, [])
    """
    kept, lost, mended, remarks = _core.salvage(path, dest, progress)
    return Salvaged(dict(kept), [Loss(*each) for each in lost], [Loss(*each) for each in mended], remarks)
