"""The types of items."""

from typing import Any, NotRequired, TypedDict


class IntelItemInput(TypedDict):
    """An intel item as `StateStore.upsert_intel_item` takes it. JSON fields take any value that `json.dumps` takes."""

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
    """An intel item as the store returns it: with every key, JSON decoded."""

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


IntelItemInput.__module__ = IntelItem.__module__ = "orchestrator.state_store"
