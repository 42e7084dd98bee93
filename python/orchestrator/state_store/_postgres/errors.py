"""The server's errors, by SQLSTATE, as those of the store."""

from __future__ import annotations

import psycopg
from orchestrator.state_store._postgres.faults import REFUSED, error_of_refusal
from orchestrator.state_store.exceptions import (
    CorruptDatabaseError,
    DiskFullError,
    InvalidValueError,
    OutOfMemoryError,
    ReadOnlyError,
    StateStoreError,
    StorageIOError,
    StoreBusyError,
    TransactionDoomedError,
    UnsupportedError,
)

_KINDS: dict[str, tuple[type[StateStoreError], str]] = {
    "55P03": (StoreBusyError, "still busy after busy_timeout: another transaction holds it; nothing was changed"),
    "57014": (StoreBusyError, "cancelled, after busy_timeout or by another; nothing was changed"),
    "53300": (StoreBusyError, "the server takes no more connections; nothing was changed"),
    "40P01": (StoreBusyError, "the server ended a deadlock by it; nothing was changed; repeat it"),
    "25P02": (TransactionDoomedError, "the whole transaction is undone; nothing of it is written"),
    "40001": (StoreBusyError, "it collided with another transaction; nothing was changed; repeat it"),
    "23505": (StoreBusyError, "another transaction inserted the same at the same time; nothing was changed; repeat it"),
    "25006": (ReadOnlyError, "the server takes no writes; nothing was changed"),
    "42501": (ReadOnlyError, "the role may not do it; nothing was changed"),
    "53100": (DiskFullError, "the server's disk is full; nothing was written"),
    "53200": (OutOfMemoryError, "the server has no memory for it; nothing was written"),
    "XX001": (CorruptDatabaseError, "the server found damaged data"),
    "XX002": (CorruptDatabaseError, "the server found a damaged index"),
    "22021": (InvalidValueError, "a text cannot be stored in the encoding of the database; nothing was changed"),
    "54000": (InvalidValueError, "a value is longer than an index can hold, some 2,700 bytes; nothing was changed"),
    "23503": (InvalidValueError, "rows of other tables refer to it; nothing was changed; delete those rows first"),
}

_UNDOING = ("40P01", "40001")
"""The server has undone the whole transaction, because of another."""

_ENDED = ("25P03", "25P04", "57P01", "57P02", "57P03", "57P05")
"""The session is over: the server has ended it."""


def is_lost(error: psycopg.Error) -> bool:
    """Say whether there is no session any more."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state.startswith("08") or state in _ENDED


def is_before_commit(error: psycopg.Error) -> bool:
    """Say whether a session was ended in order, by a server that had not committed: it answers a commit first."""
    return error.sqlstate in ("25P03", "25P04", "57P01")


def is_collision(error: psycopg.Error) -> bool:
    """Say whether the same call may succeed when it is repeated at once."""
    return error.sqlstate in (*_UNDOING, "23505")


def is_refusal(error: psycopg.Error) -> bool:
    """Say whether a function of the store's has refused the call, because of the run that it names."""
    return error.diag.sqlstate == REFUSED


def translated(error: psycopg.Error, *, inside: bool) -> StateStoreError:
    """Return an error of the server's as one of ours, unless it may have been committed nevertheless.

    Parameters
    ----------
    error
        What psycopg raised.
    inside
        Whether it was in the caller's own transaction.
    """
    if is_refusal(error):
        return error_of_refusal(error)
    what = message(error)
    if inside and (is_lost(error) or error.sqlstate in _UNDOING):
        return TransactionDoomedError(f"{what}; the server has undone the whole transaction; nothing of it is written")
    if is_lost(error):
        return StorageIOError(f"{what}; nothing was written")
    kind, why = _KINDS.get(error.sqlstate or "", (StateStoreError, ""))
    return kind(f"{why} ({what})" if why else what)


def message(error: psycopg.Error) -> str:
    """Return an error's message as one line."""
    found = error.diag.message_primary or str(error) or type(error).__name__
    return " ".join(found.split())


def unsupported(what: str, instead: str) -> UnsupportedError:
    """Return the error of what a store in PostgreSQL does not have."""
    return UnsupportedError(f"{what}: a store in PostgreSQL does not have this; {instead}")
