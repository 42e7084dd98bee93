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
        What kind of run it is; free text.
    started_at
        When it started: UTC, ISO 8601, as `datetime.isoformat()` prints it.
    status
        `running` until `StateStore.finish_run` says otherwise.
    settings_snapshot_json
        The settings, not as JSON text: of a run that was started, the very object that was given.
    finished_at
        When it was finished, as `started_at`; None while it is not.
    notes
        What `StateStore.finish_run` noted.
    heartbeat_at
        When it last gave a sign of life that was recorded, as `started_at`; None for one that never did.
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
