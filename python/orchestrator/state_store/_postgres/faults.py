"""Why a run does not take what it should, as the functions of the database tell it."""

from __future__ import annotations

from orchestrator.state_store._core import Arguments, Rows
from orchestrator.state_store.exceptions import RunFinishedError, RunNotFoundError, StateStoreError

excerpt = Arguments.excerpt


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
