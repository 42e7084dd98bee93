"""StateStore: the public face of the native core."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

from orchestrator.state_store import _core
from orchestrator.state_store.connection import Connection
from orchestrator.state_store.records import IntelItem, IntelItemInput, RunRecord

os.register_at_fork(
    before=_core.before_fork,
    after_in_parent=_core.after_fork_in_parent,
    after_in_child=_core.after_fork_in_child,
)


_PAGE_ITEMS = 512
"""How many items a page of `StateStore.iter_intel_items` has: about 1 MB of ordinary ones."""


class StateStore:
    """Runs, intel items and telemetry in one SQLite file.

    One store serves all threads of a process; several stores and several processes of one host may share a file.
    A write that has returned is committed.

    Parameters
    ----------
    db_path
        The file; missing parent folders are created. `":memory:"` is a private store in memory, for tests.
    synchronous
        `"FULL"`: what a call acknowledged survives a power cut. `"NORMAL"`: it survives a crash of the process,
        and a power cut may take the last commits, never consistency.
    busy_timeout
        Seconds (0 or more) that a call may wait for the writer, a reader and the file's lock together.
    pool_size
        The most connections, 1 to 64, that read at one time.
    read_only
        Open an existing file, in a read-only folder too, and never change it.
    file_mode
        Permission bits of a new file and of its -wal and -shm. An existing file keeps its own.

    Raises
    ------
    CannotOpenError
        When the path cannot be created or opened.
    NotADatabaseError, ForeignDatabaseError, SchemaTooNewError, CorruptDatabaseError
        When the file is not one of ours, or newer than this package. It is left as it is.
    StoreBusyError
        When another program held the file's lock for `busy_timeout`.
    TypeError, ValueError
        When an option is wrong; the message names it.

    Examples
    --------
    >>> with StateStore(":memory:") as store:
    ...     run = store.start_run("run-1", "daily", {"limit": 10})
    ...     store.finish_run("run-1", "completed")
    >>> run.status
    'running'
    """

    db_path: Path

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 30.0,
        pool_size: int = 4,
        read_only: bool = False,
        file_mode: int = 0o600,
    ) -> None:
        self._core = _core.Store(
            db_path,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            pool_size=pool_size,
            read_only=read_only,
            file_mode=file_mode,
        )
        self.db_path = Path(db_path)
        self._read_only = read_only
        self._local = threading.local()

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any) -> RunRecord:
        """Record a new run with status `running`.

        Parameters
        ----------
        run_id
            A key that no run has yet.
        run_type
            What kind of run it is; free text.
        settings_snapshot
            The settings that it runs with: any value that `json.dumps` accepts, a dict as a rule.

        Returns
        -------
        RunRecord
            The run, with `settings_snapshot` itself.

        Raises
        ------
        RunExistsError
            When there is a run with this run_id; it stays as it is.
        """
        started_at = self._core.start_run(run_id, run_type, settings_snapshot)
        return RunRecord(run_id, run_type, started_at, "running", settings_snapshot)

    def finish_run(self, run_id: str, status: str, notes: str | None = None) -> None:
        """Set a run's status and notes, and its `finished_at` to now.

        Parameters
        ----------
        run_id
            The run.
        status
            Free text: `completed`, `partial`, `failed` ...
        notes
            Free text, or None; replaces what was there.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        """
        self._core.finish_run(run_id, status, notes)

    def upsert_intel_item(self, item: IntelItemInput | Mapping[str, Any]) -> None:
        """Insert an item, or update the one with this `item_id`.

        Parameters
        ----------
        item
            `item_id`, `run_id`, `item_type`, `title` and `summary` (str) are required. `claims_json`,
            `evidence_json`, `risk_flags_json` and `explainability_json` default to `[]`, `scores_json` to `{}`;
            each takes any JSON value. `decision` and `decision_reason` (str or None) default to None. Other keys
            are ignored. An update leaves `run_id`, `item_type` and `created_at` as they were first recorded.

        Raises
        ------
        RunNotFoundError
            When there is no run with this `run_id`.
        MissingFieldError
            When a required key is missing.
        TypeError, ValueError, RecursionError
            When a value cannot be stored: of the class that `json.dumps` raises for it.
        """
        self._core.upsert_intel_item(item)

    def upsert_intel_items_batch(self, items: Iterable[IntelItemInput | Mapping[str, Any]]) -> None:
        """Upsert many items as one: all of them are written, or none.

        Parameters
        ----------
        items
            Items as `upsert_intel_item` takes them. The iterable is exhausted before anything is written. Where
            an `item_id` comes twice, the last wins.

        Raises
        ------
        RunNotFoundError, MissingFieldError, TypeError, ValueError, RecursionError
            As `upsert_intel_item`; the message gives the index of the item.
        """
        self._core.upsert_intel_items_batch(items)

    def list_intel_items_for_run(self, run_id: str) -> list[IntelItem]:
        """Return a run's items, JSON decoded, in the order in which they were first recorded.

        Parameters
        ----------
        run_id
            The run. An unknown one has no items.

        Returns
        -------
        list of IntelItem
            Plain dicts, the oldest `created_at` first.

        Raises
        ------
        InvalidJSONError
            When another program wrote something that is no JSON.
        """
        return self._core.list_intel_items_for_run(run_id)

    def iter_intel_items(self, *, run_id: str | None = None) -> Iterator[IntelItem]:
        """Go through items, JSON decoded, in the order in which they were first recorded, in bounded memory.

        Items are read page by page, and nothing is held open in between. While others write, each item that is
        there throughout comes exactly once.

        Parameters
        ----------
        run_id
            The run whose items to go through; None for those of all runs.

        Raises
        ------
        InvalidJSONError
            When another program wrote something that is no JSON.

        Examples
        --------
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.upsert_intel_item(
        ...         {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
        ...     )
        ...     [item["item_id"] for item in store.iter_intel_items(run_id="run-1")]
        ['a']
        """
        end = None
        while True:
            page, end = self._core.page_intel_items(run_id, end, _PAGE_ITEMS)
            yield from page
            if end is None:
                return

    def write_telemetry(self, run_id: str, telemetry: Any) -> None:
        """Set a run's telemetry document, replacing the one before.

        Parameters
        ----------
        run_id
            The run.
        telemetry
            Any value that `json.dumps` accepts, a dict as a rule.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        """
        self._core.write_telemetry(run_id, telemetry)

    def transaction(self) -> _core.Transaction:
        """Return a context manager whose writes are kept all together, or not at all.

        Any exception that leaves the block, KeyboardInterrupt included, rolls it back and passes on untouched.
        Blocks nest: an inner one that fails undoes itself alone. The transaction belongs to the thread, or to the
        asyncio task, that enters it; others wait to write, and do not see its writes.

        Raises
        ------
        StoreBusyError
            On entering, when the writer is not free within `busy_timeout`.
        TransactionDoomedError
            On leaving, when SQLite had to roll everything back by itself.

        Examples
        --------
        >>> with StateStore(":memory:") as store:
        ...     with store.transaction():
        ...         run = store.start_run("run-1", "daily", {})
        ...         store.finish_run("run-1", "completed")
        """
        return self._core.transaction()

    @property
    def connection(self) -> Connection:
        """A read-only stand-in for `sqlite3.Connection`, for ad-hoc SELECTs: the same object within a thread."""
        try:
            connection: Connection = self._local.connection
        except AttributeError:
            connection = self._local.connection = Connection(self._core)
        return connection

    @property
    def _conn(self) -> Connection:
        """What old programs call `connection`."""
        return self.connection

    def close(self) -> None:
        """Close every connection of every thread. Later calls raise StoreClosedError; closing again does nothing.

        A transaction that is still open is rolled back, and its exit raises.
        """
        self._core.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def __repr__(self) -> str:
        """Say which file, and whether it is open."""
        mode = ", read-only" if self._read_only else ""
        state = "closed" if self._core.closed else "open"
        return f"<StateStore {str(self.db_path)!r}, {state}{mode}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: connections belong to one process."""
        raise TypeError(f"{self!r} cannot be pickled or copied: open a StateStore in each process")
