"""The shapes of what goes into a store and comes out of it."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict


@dataclass(frozen=True)
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


class IntelItemInput(TypedDict):
    """An intel item as `StateStore.upsert_intel_item` takes it. JSON fields take whatever `json.dumps` takes."""

    item_id: str
    run_id: str
    item_type: str
    title: str
    summary: str
    claims_json: NotRequired[Any]
    evidence_json: NotRequired[Any]
    scores_json: NotRequired[Any]
    risk_flags_json: NotRequired[Any]
    explainability_json: NotRequired[Any]
    decision: NotRequired[str | None]
    decision_reason: NotRequired[str | None]


class IntelItem(TypedDict):
    """An intel item as the store returns it: every key there, JSON decoded."""

    item_id: str
    run_id: str
    item_type: str
    title: str
    summary: str
    claims_json: Any
    evidence_json: Any
    scores_json: Any
    risk_flags_json: Any
    explainability_json: Any
    decision: str | None
    decision_reason: str | None
    created_at: str
