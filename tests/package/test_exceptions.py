"""Every exception class is what old programs catch, and some test raises it."""

from __future__ import annotations

import sqlite3

import orchestrator.state_store as package
import pytest
from orchestrator.state_store import StateStoreError

from tests.conformance import test_errors as of_any_engine
from tests.sqlite import test_errors as of_a_file

BASES: dict[str, type[Exception]] = {
    "RunExistsError": sqlite3.IntegrityError,
    "RunActiveError": sqlite3.IntegrityError,
    "RunNotFoundError": sqlite3.IntegrityError,
    "RunFinishedError": sqlite3.IntegrityError,
    "IntelItemNotFoundError": sqlite3.IntegrityError,
    "MissingFieldError": KeyError,
    "InvalidTypeError": TypeError,
    "InvalidValueError": ValueError,
    "NestingTooDeepError": RecursionError,
    "ClockError": RuntimeError,
    "StoreClosedError": sqlite3.ProgrammingError,
    "StoreBusyError": sqlite3.OperationalError,
    "ReadOnlyError": sqlite3.OperationalError,
    "TransactionError": sqlite3.ProgrammingError,
    "QueryError": sqlite3.OperationalError,
    "CannotOpenError": sqlite3.OperationalError,
    "FileMovedError": sqlite3.OperationalError,
    "NotADatabaseError": sqlite3.DatabaseError,
    "ForeignDatabaseError": sqlite3.DatabaseError,
    "SchemaTooNewError": sqlite3.DatabaseError,
    "CorruptDatabaseError": sqlite3.DatabaseError,
    "OutOfMemoryError": MemoryError,
    "InvalidJSONError": ValueError,
    "DiskFullError": sqlite3.OperationalError,
    "StorageIOError": sqlite3.OperationalError,
    "TransactionDoomedError": sqlite3.OperationalError,
    "CommitOutcomeUnknownError": package.StorageIOError,
    "UnsupportedError": NotImplementedError,
}
FAULTS = {"DiskFullError", "StorageIOError", "TransactionDoomedError", "CommitOutcomeUnknownError"}
"""What `tests/faults` raises, in test_full_disk.py, test_io_errors.py and test_failed_syncs.py."""

OF_POSTGRES = {"UnsupportedError"}
"""What only a store in PostgreSQL raises: tests/postgres/test_opening.py."""


def test_every_exported_class_is_covered() -> None:
    exported = {
        name
        for name in package.__all__
        if isinstance(each := getattr(package, name), type) and issubclass(each, StateStoreError)
    }
    raised = {each[0].__name__ for each in [*of_any_engine.SCENARIOS, *of_a_file.SCENARIOS]}
    assert exported == raised | FAULTS | OF_POSTGRES | {"StateStoreError"} == BASES.keys() | {"StateStoreError"}


@pytest.mark.parametrize("name", BASES)
def test_class_is_what_old_programs_catch(name: str) -> None:
    kind = getattr(package, name)
    assert issubclass(kind, StateStoreError)
    assert issubclass(kind, BASES[name])
