"""The exceptions of the store. Each class also derives from the one that the pure-Python predecessor raised."""

# `sqlite3` itself imports `datetime` as well, which takes as long as opening a file.
import _sqlite3 as sqlite3


class StateStoreError(Exception):
    """The base class of all errors of the store."""


class RunExistsError(StateStoreError, sqlite3.IntegrityError):
    """A run with this run_id exists already; nothing was changed."""


class RunNotFoundError(StateStoreError, sqlite3.IntegrityError):
    """No run has this run_id; nothing was changed."""


class RunActiveError(StateStoreError, sqlite3.IntegrityError):
    """The run is `running`; nothing was changed. Finish it first, or delete it with `force=True`."""


class RunFinishedError(StateStoreError, sqlite3.IntegrityError):
    """The run is not running, or was recovered as stale; nothing was changed.

    A write that names a recovered run is refused: stop the work on it, or call `reopen_run` if its worker is alive
    after all.
    """


class IntelItemNotFoundError(StateStoreError, sqlite3.IntegrityError):
    """No item has this item_id; nothing was changed."""


class StoreBusyError(StateStoreError, sqlite3.OperationalError):
    """The wait for the writer, a reader or the file's lock ended at `busy_timeout`; nothing was changed.

    It is raised at once if the wait could never end: when a task or a greenlet would block the thread of another one
    that is in a transaction.
    """


class DiskFullError(StateStoreError, sqlite3.OperationalError):
    """The disk is full, or a quota is used up; nothing of the call, or of the transaction around it, was written."""


class StorageIOError(StateStoreError, sqlite3.OperationalError):
    """The operating system failed to read or write; nothing of the call was written."""


class CommitOutcomeUnknownError(StorageIOError):
    """The commit itself failed: the write may or may not be there after the next opening of the file.

    The message says whether repeating the call is safe.
    """


class OutOfMemoryError(StateStoreError, MemoryError):
    """Memory ran out, or the file is damaged and claims a record larger than memory can be."""


class CannotOpenError(StateStoreError, sqlite3.OperationalError):
    """The path cannot be created or opened; the message names it."""


class FileMovedError(StateStoreError, sqlite3.OperationalError):
    """The file, or its log, is no longer where it was when the store was opened; nothing of the call was written."""


class ReadOnlyError(StateStoreError, sqlite3.OperationalError):
    """A write to a store opened with `read_only=True`, or a statement on `connection` that is not a pure read."""


class QueryError(StateStoreError, sqlite3.OperationalError):
    """The SQL given to `connection.execute` is wrong, and the message is SQLite's; or the cursor is closed."""


class NotADatabaseError(StateStoreError, sqlite3.DatabaseError):
    """The file is not a SQLite database; it was not changed."""


class CorruptDatabaseError(StateStoreError, sqlite3.DatabaseError):
    """The file is damaged, or has a value that no store writes (a blob in a text column)."""


class ForeignDatabaseError(StateStoreError, sqlite3.DatabaseError):
    """The file is another program's, or a change of its schema is in the way; it was not changed."""


class SchemaTooNewError(StateStoreError, sqlite3.DatabaseError):
    """The file was written by a newer version of this package; it was not changed."""


class StoreClosedError(StateStoreError, sqlite3.ProgrammingError):
    """The store is closed."""


class TransactionError(StateStoreError, sqlite3.ProgrammingError):
    """A transaction was used twice, by another thread or task, or in a process that was forked inside it."""


class TransactionDoomedError(StateStoreError, sqlite3.OperationalError):
    """SQLite rolled the whole transaction back by itself (disk full, I/O error): nothing of it is written."""


class ClockError(StateStoreError, RuntimeError):
    """The clock has jumped ahead: nothing was deleted or recovered by age.

    Open a new store when the clock is right. If it is, `trust_clock=True` deletes or recovers all the same.
    """


class UnsupportedError(StateStoreError, NotImplementedError):
    """The engine of this store does not have the call or the option; the message says what to do instead."""


class MissingFieldError(StateStoreError, KeyError):
    """An item lacks a required key."""

    def __str__(self) -> str:
        """Return the message as it is; KeyError would quote it."""
        return str(self.args[0]) if self.args else ""


class InvalidTypeError(StateStoreError, TypeError):
    """A value of a type that cannot be stored; the message names the field."""


class InvalidValueError(StateStoreError, ValueError):
    """A value that cannot be stored: a circular reference, a lone surrogate, or a constraint forbids it."""


class NestingTooDeepError(StateStoreError, RecursionError):
    """A JSON value nested more deeply than the `json` module can write."""


class InvalidJSONError(StateStoreError, ValueError):
    """A JSON column holds text that is not valid JSON; another program wrote it."""


class FileLinkedWarning(UserWarning):
    """The store's file has several names (hard links), or is mounted as a single file: each name has its own log."""


class NetworkFileSystemWarning(UserWarning):
    """The store's file is on a network file system, where SQLite's locks and shared memory cannot be relied on."""


for _kind in [each for each in globals().values() if isinstance(each, type)]:
    _kind.__module__ = "orchestrator.state_store"
