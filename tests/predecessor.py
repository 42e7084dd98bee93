"""The files of the pure-Python predecessor, as statements for `plain_sqlite`."""

from __future__ import annotations

import json
from typing import Any

TABLES = [
    """CREATE TABLE IF NOT EXISTS runs (
        run_id TEXT PRIMARY KEY,
        run_type TEXT NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        status TEXT NOT NULL,
        settings_snapshot_json TEXT NOT NULL,
        notes TEXT
    )""",
    """CREATE TABLE IF NOT EXISTS intel_items (
        item_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL,
        item_type TEXT NOT NULL,
        title TEXT NOT NULL,
        summary TEXT NOT NULL,
        claims_json TEXT NOT NULL,
        evidence_json TEXT NOT NULL,
        scores_json TEXT NOT NULL,
        risk_flags_json TEXT NOT NULL,
        explainability_json TEXT NOT NULL,
        decision TEXT,
        decision_reason TEXT,
        created_at TEXT NOT NULL,
        FOREIGN KEY (run_id) REFERENCES runs (run_id)
    )""",
    """CREATE TABLE IF NOT EXISTS telemetry (
        run_id TEXT PRIMARY KEY,
        telemetry_json TEXT NOT NULL,
        created_at TEXT NOT NULL,
        FOREIGN KEY (run_id) REFERENCES runs (run_id)
    )""",
]
INDEXES = [
    "CREATE INDEX IF NOT EXISTS idx_intel_items_run_id ON intel_items (run_id)",
    "CREATE INDEX IF NOT EXISTS idx_intel_items_created_at ON intel_items (created_at)",
]
RUN_FIELDS = ["run_id", "run_type", "started_at", "status", "settings_snapshot_json"]
"""What its RunRecord had."""
PRIVATE = [
    "_conn",
    "_get_connection",
    "_ensure_schema",
    "_in_transaction",
    "_commit_if_not_in_transaction",
    "_serialize_intel_item",
]
"""What its StateStore called on itself, and a subclass may have overridden."""
STARTED_AT = "2024-03-01T06:00:00.123456+00:00"
ITEMS_IN_ORDER = ["late", "twin-b", "twin-a", "early"]
"""As they were recorded, by a clock that was set back."""
TIMES = {
    "late": "2024-03-01T06:00:03+00:00",
    "twin-b": "2024-03-01T06:00:02.000001+00:00",
    "twin-a": "2024-03-01T06:00:02.000001+00:00",
    "early": "2024-03-01T06:00:01.500000+00:00",
}
UPSERT = """INSERT INTO intel_items (item_id, run_id, item_type, title, summary, claims_json, evidence_json,
    scores_json, risk_flags_json, explainability_json, decision, decision_reason, created_at)
    VALUES (?, ?, 'note', ?, 's', ?, '[]', '{"impact": 0.5}', '[]', '[]', NULL, NULL, ?)
    ON CONFLICT (item_id) DO UPDATE SET title = excluded.title, claims_json = excluded.claims_json"""


def start_run(run_id: str) -> tuple[str, list[Any]]:
    """Record a run as the predecessor does."""
    settings = json.dumps({"limit": 10, "name": "é"})
    sql = """INSERT INTO runs (run_id, run_type, started_at, status, settings_snapshot_json)
        VALUES (?, 'daily', ?, 'running', ?)"""
    return sql, [run_id, STARTED_AT, settings]


def upsert(item_id: str, run_id: str, title: str, claims: Any, created_at: str) -> tuple[str, list[Any]]:
    """Upsert an item as the predecessor does."""
    return UPSERT, [item_id, run_id, title, json.dumps(claims), created_at]


def telemetry(run_id: str, document: Any) -> tuple[str, list[Any]]:
    """Replace a run's telemetry as the predecessor does."""
    return "INSERT OR REPLACE INTO telemetry (run_id, telemetry_json, created_at) VALUES (?, ?, ?)", [
        run_id,
        json.dumps(document),
        STARTED_AT,
    ]


def file(*, indexes: bool, journal: str) -> list[str | tuple[str, list[Any]]]:
    """Return what makes a file with one run, four items recorded out of order, and telemetry."""
    return [
        f"PRAGMA journal_mode = {journal}",
        *TABLES,
        *(INDEXES if indexes else []),
        start_run("old-run"),
        *(upsert(item_id, "old-run", f"old {item_id}", ["é", float("nan")], time) for item_id, time in TIMES.items()),
        telemetry("old-run", {"n": 4}),
    ]
