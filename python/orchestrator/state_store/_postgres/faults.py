"""Why a run does not take what it should, as the functions of the database tell it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orchestrator.state_store._core import Arguments, Rows
from orchestrator.state_store.exceptions import RunFinishedError, RunNotFoundError, StateStoreError

if TYPE_CHECKING:
    import psycopg

excerpt = Arguments.excerpt

REFUSED = "OS001"
"""The SQLSTATE of a function that a run of an item does not let write."""


def error_of(fault: str, run_id: str, status: str | None, recovered_at: str | None, note: str = "") -> StateStoreError:
    """Return the error of a fault; `note` says what to do about a run that is over."""
    behind = f"; {note}" if note else ""
    if fault == "missing":
        return RunNotFoundError(f"there is no run {excerpt(run_id)}; nothing was changed")
    shown = excerpt(Rows.unescape(status or ""))
    if fault == "recovered":
        return RunFinishedError(
            f"the run {excerpt(run_id)} was recovered at {recovered_at}, as it showed no activity: its status is "
            f"{shown}; nothing was changed; stop the work on it, or call reopen_run if its worker is still alive"
            f"{behind}"
        )
    return RunFinishedError(f"the run is over: its status is {shown}; nothing was changed{behind}")


def error_of_refusal(error: psycopg.Error) -> StateStoreError:
    """Return the error of a fault that a function has raised; of a batch it says which item it is about."""
    place, item_id, run_id, fault, status, recovered_at = json.loads(error.diag.message_detail or "")
    found = error_of(fault, Rows.unescape(run_id), status, recovered_at)
    return found if place is None else type(found)(f"item {place} ({excerpt(Rows.unescape(item_id))}): {found}")
