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
from orchestrator.state_store.store import StateStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.state_store.active_run import ActiveRun
    from orchestrator.state_store.connection import Connection, Cursor, Row
    from orchestrator.state_store.exceptions import (
        CannotOpenError,
        CommitOutcomeUnknownError,
        CorruptDatabaseError,
        DiskFullError,
        FileLinkedWarning,
        FileMovedError,
        ForeignDatabaseError,
        IntelItemNotFoundError,
        InvalidJSONError,
        InvalidTypeError,
        InvalidValueError,
        MissingFieldError,
        NestingTooDeepError,
        NetworkFileSystemWarning,
        NotADatabaseError,
        OutOfMemoryError,
        QueryError,
        ReadOnlyError,
        RunActiveError,
        RunExistsError,
        RunFinishedError,
        RunNotFoundError,
        SchemaTooNewError,
        StateStoreError,
        StorageIOError,
        StoreBusyError,
        StoreClosedError,
        TransactionDoomedError,
        TransactionError,
    )
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput
    from orchestrator.state_store.records.page import Page
    from orchestrator.state_store.records.run import RunRecord
    from orchestrator.state_store.records.upkeep import Checkpointed, Deleted, Finding, Stats, Vacuumed
    from orchestrator.state_store.times import utc_now_iso

__all__ = [
    "SQLITE_VERSION",
    "ActiveRun",
    "CannotOpenError",
    "Checkpointed",
    "CommitOutcomeUnknownError",
    "Connection",
    "CorruptDatabaseError",
    "Cursor",
    "Deleted",
    "DiskFullError",
    "FileLinkedWarning",
    "FileMovedError",
    "Finding",
    "ForeignDatabaseError",
    "IntelItem",
    "IntelItemInput",
    "IntelItemNotFoundError",
    "InvalidJSONError",
    "InvalidTypeError",
    "InvalidValueError",
    "MissingFieldError",
    "NestingTooDeepError",
    "NetworkFileSystemWarning",
    "NotADatabaseError",
    "OutOfMemoryError",
    "Page",
    "QueryError",
    "ReadOnlyError",
    "Row",
    "RunActiveError",
    "RunExistsError",
    "RunFinishedError",
    "RunNotFoundError",
    "RunRecord",
    "SchemaTooNewError",
    "StateStore",
    "StateStoreError",
    "Stats",
    "StorageIOError",
    "StoreBusyError",
    "StoreClosedError",
    "Transaction",
    "TransactionDoomedError",
    "TransactionError",
    "Vacuumed",
    "__version__",
    "utc_now_iso",
]

_LOADED_LATER = (
    "exceptions",
    "connection",
    "records.run",
    "active_run",
    "records.page",
    "records.item",
    "records.upkeep",
    "times",
)
"""What a program that writes once and ends never needs: with them, importing the package takes twice as long."""


def __getattr__(name: str) -> object:
    """Find a public name in the modules that are loaded when they are first asked for."""
    if name in __all__:
        from importlib import import_module

        for module in _LOADED_LATER:
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names of the modules that are not loaded yet as well."""
    return sorted({*globals(), *__all__})
