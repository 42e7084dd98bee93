"""A run, as the store returns it."""

from __future__ import annotations

from orchestrator.state_store.frozen import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@frozen
class RunRecord:
    """A run, as `StateStore.start_run` recorded it.

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
        The settings as they were given: the object itself, not its JSON text.
    """

    run_id: str
    run_type: str
    started_at: str
    status: str
    settings_snapshot_json: Any
