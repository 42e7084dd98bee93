"""A run, as the store returns it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """A run, as it was when it was started or read.

    Attributes
    ----------
    run_id
        The run's key.
    run_type
        The kind of run; free text.
    started_at
        When it started: UTC, ISO 8601, as `datetime.isoformat()` prints it.
    status
        `running`, or the status that `StateStore.finish_run` set.
    settings_snapshot_json
        The settings, decoded; of a run that `start_run` returned, the object that was passed in.
    finished_at
        When it was finished, as `started_at`; None before that.
    notes
        The notes of `StateStore.finish_run`.
    heartbeat_at
        When its latest heartbeat was recorded, as `started_at`; None if it had none. Writes for the run count as one.
    """

    __module__ = "orchestrator.state_store"

    run_id: str
    run_type: str
    started_at: str
    status: str
    settings_snapshot_json: Any
    finished_at: str | None = None
    notes: str | None = None
    heartbeat_at: str | None = None


def record_of(row: tuple[Any, ...]) -> RunRecord:
    """Return the record of a row. `RunRecord(*row)` takes three times as long: a frozen class sets fields by calls."""
    record = object.__new__(RunRecord)
    its = record.__dict__
    its["run_id"], its["run_type"], its["started_at"], its["status"], its["settings_snapshot_json"], *rest = row
    its["finished_at"], its["notes"], its["heartbeat_at"] = rest
    return record
