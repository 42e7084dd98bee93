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

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.state_store._core import DEBUG_BUILD, SQLITE_VERSION, __version__
from orchestrator.state_store.active_run import ActiveRun
from orchestrator.state_store.records import page, run
from orchestrator.state_store.records.page import Page
from orchestrator.state_store.records.run import RunRecord
from orchestrator.state_store.store import StateStore, import_all

if TYPE_CHECKING:
    from orchestrator.state_store.connection import Connection, Cursor, Row
    from orchestrator.state_store.core import Transaction
    from orchestrator.state_store.exceptions import (
        CannotOpenError,
        ClockError,
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
        UnsupportedError,
    )
    from orchestrator.state_store.move import copy_store
    from orchestrator.state_store.records.filters import ItemFilters
    from orchestrator.state_store.records.item import IntelItem, IntelItemInput
    from orchestrator.state_store.records.upkeep import (
        Checkpointed,
        Copied,
        CopyProgress,
        Deleted,
        Finding,
        Loss,
        Salvaged,
        Stats,
        Vacuumed,
    )
    from orchestrator.state_store.salvaging import salvage
    from orchestrator.state_store.times import utc_now_iso

__all__ = [
    "SQLITE_VERSION",
    "ActiveRun",
    "CannotOpenError",
    "Checkpointed",
    "ClockError",
    "CommitOutcomeUnknownError",
    "Connection",
    "Copied",
    "CopyProgress",
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
    "ItemFilters",
    "Loss",
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
    "Salvaged",
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
    "UnsupportedError",
    "Vacuumed",
    "__version__",
    "copy_store",
    "salvage",
    "utc_now_iso",
]

_LATE = (
    dict.fromkeys(__all__, "exceptions")
    | dict.fromkeys(("Connection", "Cursor", "Row"), "connection")
    | dict.fromkeys(("Checkpointed", "Copied", "CopyProgress", "Deleted", "Finding", "Loss"), "records.upkeep")
    | dict.fromkeys(("Salvaged", "Stats", "Vacuumed"), "records.upkeep")
    | dict.fromkeys(("IntelItem", "IntelItemInput"), "records.item")
    | {"ItemFilters": "records.filters", "Transaction": "core", "copy_store": "move", "salvage": "salvaging"}
    | {"utc_now_iso": "times"}
)
"""Where a name is that is not imported above: a program that writes once and ends needs none of these modules."""

# Pickles that were made before these modules were moved name them so.
sys.modules.update({f"{__name__}.run_record": run, f"{__name__}.page": page})

if DEBUG_BUILD:
    import warnings

    warnings.warn(
        "orchestrator.state_store is a debug build, two to four times slower; "
        "build it with `maturin develop --release`",
        RuntimeWarning,
        stacklevel=2,
    )


def __getattr__(name: str) -> object:
    """Import the module of a public name when the name is first asked for."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    return found


def __dir__() -> list[str]:
    """List the names of the modules that are not loaded yet as well."""
    return sorted({*globals(), *__all__})


os.register_at_fork(before=import_all)
