"""The durable memory of an orchestrator: runs, intel items and telemetry in one SQLite file.

>>> from orchestrator.state_store import StateStore
>>> with StateStore(":memory:") as store:
...     run = store.start_run("run-1", "daily", {"limit": 10})
...     store.upsert_intel_item(
...         {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}
...     )
...     [item["title"] for item in store.list_intel_items_for_run("run-1")]
['t']
"""

from orchestrator.state_store._core import SQLITE_VERSION, Transaction, __version__
from orchestrator.state_store.connection import Connection, Cursor, Row
from orchestrator.state_store.exceptions import (
    CannotOpenError,
    CommitOutcomeUnknownError,
    CorruptDatabaseError,
    DiskFullError,
    ForeignDatabaseError,
    InvalidJSONError,
    InvalidTypeError,
    InvalidValueError,
    MissingFieldError,
    NestingTooDeepError,
    NetworkFileSystemWarning,
    NotADatabaseError,
    QueryError,
    ReadOnlyError,
    RunExistsError,
    RunNotFoundError,
    SchemaTooNewError,
    StateStoreError,
    StorageIOError,
    StoreBusyError,
    StoreClosedError,
    TransactionDoomedError,
    TransactionError,
)
from orchestrator.state_store.records import IntelItem, IntelItemInput, RunRecord
from orchestrator.state_store.store import StateStore

__all__ = [
    "SQLITE_VERSION",
    "CannotOpenError",
    "CommitOutcomeUnknownError",
    "Connection",
    "CorruptDatabaseError",
    "Cursor",
    "DiskFullError",
    "ForeignDatabaseError",
    "IntelItem",
    "IntelItemInput",
    "InvalidJSONError",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingFieldError",
    "NestingTooDeepError",
    "NetworkFileSystemWarning",
    "NotADatabaseError",
    "QueryError",
    "ReadOnlyError",
    "Row",
    "RunExistsError",
    "RunNotFoundError",
    "RunRecord",
    "SchemaTooNewError",
    "StateStore",
    "StateStoreError",
    "StorageIOError",
    "StoreBusyError",
    "StoreClosedError",
    "Transaction",
    "TransactionDoomedError",
    "TransactionError",
    "__version__",
]
