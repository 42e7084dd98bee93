"""StateStore: the public face of the native core."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.state_store import _core
from orchestrator.state_store.calls.intel_items import IntelItems
from orchestrator.state_store.calls.item_lists import ItemLists
from orchestrator.state_store.calls.run_lists import RunLists
from orchestrator.state_store.calls.runs import Runs
from orchestrator.state_store.calls.telemetry import Telemetry
from orchestrator.state_store.calls.upkeep import Upkeep
from orchestrator.state_store.late import importing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Literal, NoReturn, Self

    from orchestrator.state_store.connection import Connection
    from orchestrator.state_store.core import Core, Transaction


_PACKAGE = "orchestrator.state_store"
_BY_OPTIONS = "give busy_timeout, synchronous and read_only to StateStore"
_BY_TRANSACTIONS = "use transaction()"
_UNCALLED = {
    "_conn": _BY_OPTIONS,
    "_get_connection": _BY_OPTIONS,
    "_ensure_schema": "make tables of your own before the store is opened",
    "_in_transaction": _BY_TRANSACTIONS,
    "_commit_if_not_in_transaction": _BY_TRANSACTIONS,
    "_serialize_intel_item": "override upsert_intel_item and upsert_intel_items_batch, and change the item there",
}
"""What subclasses of the predecessor may override, which it called and this store does not; and what to do instead."""


def import_needed() -> None:
    """Import what calls import when they first need it, and cannot do without: the classes of errors above all.

    Later there may be no descriptor left to import with. What else they import late is left to `late.importing`.
    """
    for name in (f"{_PACKAGE}.exceptions", "json", "linecache", "warnings", "weakref"):
        import_module(name)


def import_all() -> None:
    """Import whatever a call may import when it first needs it.

    A child that is forked while another thread is inside such an import would wait for it for ever: it inherits the
    lock of the module, and not the thread.
    """
    import_needed()
    for name in ("connection", "core", "move", "records.filters", "records.item", "records.upkeep", "times"):
        import_module(f"{_PACKAGE}.{name}")


def is_in_postgres(db_path: object) -> bool:
    """Say whether it is the URL of a PostgreSQL database."""
    return isinstance(db_path, str) and db_path.lower().startswith(("postgresql://", "postgres://"))


def engine_of(db_path: str | os.PathLike[str]) -> Callable[..., Core]:
    """Return what opens a store there."""
    if is_in_postgres(db_path):
        from orchestrator.state_store._postgres import store_class

        return store_class()
    return _core.Store


class StateStore(Runs, RunLists, IntelItems, ItemLists, Telemetry, Upkeep):
    """Runs, intel items and telemetry in one SQLite file.

    One store serves all threads of a process; several stores and several processes of one host may share a file.
    A write is committed when its call returns.

    Parameters
    ----------
    db_path
        The file; missing parent folders are created, for their owner alone. `~` is not expanded. `":memory:"` is a
        private store in memory, for tests. A str may be a URL of a file (`sqlite:///state.db`, `file:state.db`), or
        of a PostgreSQL database (`postgresql://host/db`, with the extra `postgres`), where calls and options that
        have no meaning raise UnsupportedError; any other URL is refused. A `pathlib.Path` never is one.
    synchronous
        `"FULL"`: committed writes survive a power cut. `"NORMAL"`: they survive a crash of the process; a power cut may
        take the last commits, but the file stays consistent.
    busy_timeout
        Seconds (0 or more) that a call may wait in total: for the writer, a reader and the file's lock.
    pool_size
        The most connections, 1 to 64, that read at the same time.
    read_only
        Open an existing file, in a read-only folder too, and never change it.
    file_mode
        Permission bits of a new file and of its -wal and -shm. An existing file keeps its own.
    trace_sql
        Log each statement that SQLite runs for this store, and its time, to
        `logging.getLogger("orchestrator.state_store")` at level DEBUG, when the call is over. Bound values are not
        shown; values in the text of ad-hoc SQL are.
    json_default
        Called with each value that JSON does not know, in items, settings and telemetry, as the `default` of
        `json.dumps` is; returns a value that JSON knows, or raises TypeError. It may call the store. None: such a value
        is an error.
    strict
        Refuse an item with a key that no item has (`InvalidValueError` names the nearest one that items have), instead
        of ignoring the key. `created_at` may be there, as lists return it.

    Raises
    ------
    CannotOpenError
        When the path cannot be created or opened; or when the file has several names (hard links), unless `read_only`.
    ReadOnlyError
        When the file can only be read, unless `read_only`.
    NotADatabaseError, ForeignDatabaseError, SchemaTooNewError, CorruptDatabaseError
        When the file is not a store, is damaged, or is newer than this package. It is not changed.
    StoreBusyError
        When another program held the file's lock for `busy_timeout`.
    FileMovedError
        By later calls: when the file, or its log, is no longer where it was opened.
    TypeError, ValueError
        When an option is wrong, or the path is the URL of something else; the message names it.

    Examples
    --------
    >>> with StateStore(":memory:") as store:
    ...     run = store.start_run("run-1", "daily", {"limit": 10})
    ...     store.finish_run("run-1", "completed")
    >>> run.status
    'running'
    """

    __module__ = "orchestrator.state_store"

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        busy_timeout: float = 30.0,
        pool_size: int = 4,
        read_only: bool = False,
        file_mode: int = 0o600,
        trace_sql: bool = False,
        json_default: Callable[[Any], Any] | None = None,
        strict: bool = False,
    ) -> None:
        if db_path != ":memory:":
            # What cannot be imported now is missed by the call that needs it.
            with suppress(OSError, ImportError):
                import_needed()
        self._read_only = read_only
        self._core = engine_of(db_path)(
            db_path,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            pool_size=pool_size,
            read_only=read_only,
            file_mode=file_mode,
            trace_sql=trace_sql,
            json_default=json_default,
            strict=strict,
        )

    def __init_subclass__(cls, **options: object) -> None:
        """Warn of a method that only the predecessor called."""
        super().__init_subclass__(**options)
        mixins = (each for base in cls.__bases__ if not issubclass(base, StateStore) for each in base.__mro__)
        names = {name for each in (cls, *mixins) for name in vars(each)}
        for name in _UNCALLED.keys() & names:
            import warnings

            message = f"{cls.__qualname__}.{name} has no effect: StateStore does not call it; {_UNCALLED[name]}"
            warnings.warn(message, UserWarning, stacklevel=2)

    def transaction(self) -> Transaction:
        """Return a context manager whose writes are committed together, or not at all.

        Any exception that leaves the block, KeyboardInterrupt included, rolls it back and propagates unchanged. Blocks
        nest: if an inner one fails, only its own writes are rolled back. The transaction belongs to the thread, the
        asyncio task and the context that enter it (greenlets and the tasks of trio, Twisted and Tornado have a context
        each). Writes of others wait, and others do not see its writes.

        Raises
        ------
        StoreBusyError
            On entering, when the writer is not free within `busy_timeout`.
        TransactionDoomedError
            On leaving, when SQLite rolled everything back by itself.

        Examples
        --------
        >>> with StateStore(":memory:") as store:
        ...     with store.transaction():
        ...         run = store.start_run("run-1", "daily", {})
        ...         store.finish_run("run-1", "completed")
        """
        return self._core.transaction()

    @property
    def db_path(self) -> Path:
        """The path as it was given; of a URL, the path that it names."""
        return Path(self._core.db_path)

    @property
    def connection(self) -> Connection:
        """A read-only connection for ad-hoc SELECTs, like `sqlite3.Connection`: the same object within a thread."""
        mine = self.__dict__.setdefault("_local", threading.local()).__dict__
        if "connection" not in mine:
            with importing():
                from orchestrator.state_store.connection import Connection

            mine.setdefault("connection", Connection(self._core))
        connection: Connection = mine["connection"]
        return connection

    @property
    def _conn(self) -> Connection:
        """The name of `connection` in old programs."""
        return self.connection

    def close(self) -> None:
        """Close every connection of every thread. Later calls raise StoreClosedError; closing again does nothing.

        A transaction that is still open is rolled back, and its exit raises.

        Raises
        ------
        FileMovedError
            When the file, or its log, is no longer where it was: the last writes may not be in it. The store is closed
            nevertheless. A store that was only read does not check this.
        """
        if self._is_opened():
            self._core.close()

    def _is_opened(self) -> bool:
        """Return False where `__init__` raised, or was not called."""
        return "_core" in self.__dict__

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store. An exception that leaves the block propagates; a FileMovedError is added to it as a note."""
        try:
            self.close()
        except Exception as error:
            from orchestrator.state_store.exceptions import FileMovedError

            if exc is None or not isinstance(error, FileMovedError):
                raise
            exc.add_note(str(error))

    def __repr__(self) -> str:
        """Show the file, and whether it is open."""
        if not self._is_opened():
            return "<StateStore not opened>"
        mode = ", read-only" if self._read_only else ""
        state = "closed" if self._core.closed else "open"
        return f"<StateStore {self._core.location!r}, {state}{mode}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: connections belong to one process."""
        raise TypeError(f"{self!r} cannot be pickled or copied: open a StateStore in each process")
