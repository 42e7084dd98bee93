"""The tables, statements and rows that the rivals written by hand have in common: those of a store's file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benches.items import Item

JSON_COLUMNS = ("claims_json", "evidence_json", "scores_json", "risk_flags_json", "explainability_json")
UPDATED = ("title", "summary", *JSON_COLUMNS, "decision", "decision_reason")
COLUMNS = ("item_id", "run_id", "item_type", *UPDATED, "created_at")

SCHEMA = (
    """CREATE TABLE runs(
        run_id TEXT PRIMARY KEY, run_type TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT,
        status TEXT NOT NULL, settings_snapshot_json TEXT NOT NULL, notes TEXT)""",
    """CREATE TABLE intel_items(
        item_id TEXT PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(run_id), item_type TEXT NOT NULL,
        title TEXT NOT NULL, summary TEXT NOT NULL, claims_json TEXT NOT NULL, evidence_json TEXT NOT NULL,
        scores_json TEXT NOT NULL, risk_flags_json TEXT NOT NULL, explainability_json TEXT NOT NULL,
        decision TEXT, decision_reason TEXT, created_at TEXT NOT NULL)""",
    "CREATE INDEX idx_intel_items_run_id ON intel_items(run_id, created_at)",
    "CREATE INDEX idx_intel_items_created_at ON intel_items(created_at)",
)
INSERT_RUN = "INSERT INTO runs VALUES (?, 'bench', ?, NULL, 'running', '{}', NULL)"
UPSERT = (
    f"INSERT INTO intel_items({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT(item_id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in UPDATED)}"
)
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
LIST = f"SELECT {', '.join(COLUMNS)} FROM intel_items WHERE run_id = ? ORDER BY created_at, rowid"


def pragmas(synchronous: str) -> tuple[str, ...]:
    """Return what each connection is set to."""
    return ("PRAGMA journal_mode = WAL", f"PRAGMA synchronous = {synchronous}", "PRAGMA foreign_keys = ON")


def now() -> str:
    """Return the time as the tables hold it."""
    return datetime.now(UTC).isoformat()


def to_row(item: Item, created_at: str, dumps: Callable[[Any], str]) -> tuple[str | None, ...]:
    """Return an item as the row of its table."""
    return (
        item["item_id"],
        item["run_id"],
        item["item_type"],
        item["title"],
        item["summary"],
        dumps(item["claims_json"]),
        dumps(item["evidence_json"]),
        dumps(item["scores_json"]),
        dumps(item["risk_flags_json"]),
        dumps(item["explainability_json"]),
        item["decision"],
        item["decision_reason"],
        created_at,
    )


def to_item(row: Any, loads: Callable[[str], Any]) -> Item:
    """Return a row of the table as an item."""
    (
        item_id,
        run_id,
        item_type,
        title,
        summary,
        claims,
        evidence,
        scores,
        risk_flags,
        explainability,
        decision,
        decision_reason,
        created_at,
    ) = row
    return {
        "item_id": item_id,
        "run_id": run_id,
        "item_type": item_type,
        "title": title,
        "summary": summary,
        "claims_json": loads(claims),
        "evidence_json": loads(evidence),
        "scores_json": loads(scores),
        "risk_flags_json": loads(risk_flags),
        "explainability_json": loads(explainability),
        "decision": decision,
        "decision_reason": decision_reason,
        "created_at": created_at,
    }
