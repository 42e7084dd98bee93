"""What a store ought to hold: the API in plain Python, without a file or a server."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.state_store.exceptions import (
    IntelItemNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    MissingFieldError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
)
from orchestrator.state_store.records.run import RunRecord

REQUIRED_FIELDS = ("item_id", "run_id", "item_type", "title", "summary")
DEFAULTS: dict[str, Any] = {
    "claims_json": [],
    "evidence_json": [],
    "scores_json": {},
    "risk_flags_json": [],
    "explainability_json": [],
    "decision": None,
    "decision_reason": None,
}

RUN_IDS = ["run 1", "run 2", "run 3"]

Dead = tuple[RunRecord, dict[str, Any]]
"""A run that was recovered, and the only item that it had recorded."""


class Model:
    """What a store ought to hold. Each call raises what the store ought to raise, before it changes anything."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.telemetry: dict[str, Any] = {}
        self.recovered: dict[str, str] = {}
        """The runs that were recovered, and what their notes said of it."""

    def begin_with(self, dead: Dead) -> None:
        """Have a run that was recovered, with an item."""
        run, item = dead
        self.runs[run.run_id] = [run.run_type, run.status, True, run.notes, json.dumps(run.settings_snapshot_json)]
        self.items[item["item_id"]] = item
        self.recovered[run.run_id] = run.notes or ""

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any, *, if_exists: str = "error") -> None:
        """Record a new run, unless there is one of this id and type and that will do."""
        settings_text = json.dumps(settings_snapshot)
        if run_id in self.runs:
            if if_exists == "return" and self.runs[run_id][0] == run_type:
                return
            raise RunExistsError
        self.runs[run_id] = [run_type, "running", False, None, settings_text]

    def finish_run(self, run_id: str, status: str, notes: str | None, *, force: bool = False) -> None:
        """Finish a run."""
        if status == "running":
            raise InvalidValueError
        self.takes_writes(run_id, force=force)
        self.runs[run_id][1:4] = [status, True, notes]

    def reopen_run(self, run_id: str) -> None:
        """Have a run that was recovered run again."""
        self.known(run_id)
        run = self.runs[run_id]
        if run_id not in self.recovered and run[1] != "running":
            raise RunFinishedError
        notes = None if run_id in self.recovered and run[3] == self.recovered[run_id] else run[3]
        run[1:4] = ["running", False, notes]
        self.recovered.pop(run_id, None)

    def delete_run(self, run_id: str) -> None:
        """Delete a run that is over, with all that it has recorded."""
        self.known(run_id)
        if self.runs[run_id][1] == "running":
            raise RunActiveError
        del self.runs[run_id]
        self.recovered.pop(run_id, None)
        self.telemetry.pop(run_id, None)
        self.items = {item_id: item for item_id, item in self.items.items() if item["run_id"] != run_id}

    def heartbeat(self, run_id: str) -> None:
        """Do nothing to a run that is running."""
        self.takes_writes(run_id)
        if self.runs[run_id][1] != "running":
            raise RunFinishedError

    def write_telemetry(self, run_id: str, telemetry: Any, *, force: bool = False) -> None:
        """Set a run's document."""
        text = json.dumps(telemetry)
        self.takes_writes(run_id, force=force)
        self.telemetry[run_id] = text

    def merge_telemetry(self, run_id: str, telemetry: Any, *, force: bool = False) -> None:
        """Put members over those of a run's document."""
        members = json.loads(json.dumps(telemetry))
        document = json.loads(self.telemetry.get(run_id, "{}"))
        if not isinstance(document, dict):
            raise InvalidValueError
        self.takes_writes(run_id, force=force)
        self.telemetry[run_id] = json.dumps(document | members)

    def upsert_intel_item(self, item: dict[str, Any]) -> None:
        """Insert or update an item."""
        self.upsert_intel_items_batch([item])

    def upsert_intel_items_batch(self, items: list[dict[str, Any]]) -> None:
        """Insert or update items; those that are there stay with their run, and keep their type and place."""
        checked = [self.check(item) for item in items]
        for item in checked:
            self.takes_writes(item["run_id"])
        for item in checked:
            first = self.items.get(item["item_id"], item)
            self.items[item["item_id"]] = {**item, "run_id": first["run_id"], "item_type": first["item_type"]}

    def decide(self, item_id: str, decision: str | None, reason: str | None) -> None:
        """Set an item's decision."""
        self.decide_batch({item_id: (decision, reason)})

    def decide_batch(self, decisions: dict[str, tuple[str | None, str | None]]) -> None:
        """Set the decisions of several items, or of none."""
        if not decisions.keys() <= self.items.keys():
            raise IntelItemNotFoundError
        for item_id, (decision, reason) in decisions.items():
            self.items[item_id] = {**self.items[item_id], "decision": decision, "decision_reason": reason}

    def delete_intel_item(self, item_id: str, *, force: bool = False) -> None:
        """Delete an item, if it is there."""
        if item_id in self.items:
            self.takes_writes(self.items[item_id]["run_id"], force=force)
            del self.items[item_id]

    def check(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an item as it comes back, or raise what is wrong with it."""
        for field in REQUIRED_FIELDS:
            if field not in item:
                raise MissingFieldError
            if not isinstance(item[field], str):
                raise InvalidTypeError
        whole = {**DEFAULTS, **item}
        whole = {key: whole[key] for key in (*REQUIRED_FIELDS, *DEFAULTS)}
        return {key: json.loads(json.dumps(each)) for key, each in whole.items()}

    def known(self, run_id: str) -> None:
        """Raise if there is no such run."""
        if run_id not in self.runs:
            raise RunNotFoundError

    def takes_writes(self, run_id: str, *, force: bool = False) -> None:
        """Raise if a run takes no writes."""
        self.known(run_id)
        if run_id in self.recovered and not force:
            raise RunFinishedError

    def items_of(self, run_id: str) -> list[dict[str, Any]]:
        """Return the items of a run, in the order of recording."""
        return [item for item in self.items.values() if item["run_id"] == run_id]
