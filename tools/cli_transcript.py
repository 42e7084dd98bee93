"""What verbs print on a terminal of 80 columns, for docs/cli.md: of a store that is always the same, at one moment."""

from __future__ import annotations

import shlex
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.state_store import IntelItemInput, StateStore

from tests.cli.conftest import PROGRAM, Terminal

COLUMNS = 80
NOW = datetime(2026, 11, 26, 7, 31, 5, tzinfo=UTC)
AT_THAT_TIME = f"""
import datetime
from orchestrator.state_store._view import times
times.now = lambda: datetime.datetime.fromisoformat({NOW.isoformat()!r})
{PROGRAM}"""
VERBS = (
    "runs ls",
    "runs diff advisories-3 --limit 3",
    "items ls --run advisories-3 --best scores_json.total",
    "items show advisories-3/CVE-2026-0006",
    "runs tail advisories-2",
    "prune --keep-last 1 --dry-run",
)
RUNS = (
    # Id, status, hours ago, seconds that it took or since its last sign of life, notes.
    ("advisories-1", "completed", 24, 192, None),
    ("advisories-2", "failed", 16, 31, "OSError: feeds.example.org: connection refused (attempt 5 of 5)"),
    ("advisories-3", "completed", 8, 205, None),
    ("advisories-4", "running", 0.7, 1260, None),
)


def transcript() -> str:
    """Return commands and what they print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        make_store(path)
        return "\n".join(f"$ orchestrator-state {words}\n{printed(path, words)}" for words in VERBS)


def printed(path: Path, words: str) -> str:
    """Return what a verb prints."""
    seen = Terminal(COLUMNS, str(path), *shlex.split(words), program=AT_THAT_TIME, NO_COLOR="1", TZ="UTC").end()
    lines = seen.text.replace("\r\n", "\n").strip("\n").split("\n")
    return "".join(f"{row.rstrip()}\n" for line in lines for row in shown_rows(line))


def shown_rows(line: str) -> list[str]:
    """Return the rows that a line takes."""
    return [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)] or [""]


def make_store(path: Path) -> None:
    """Write a few runs, with the times that they would have had."""
    with StateStore(path) as store:
        for number, (run_id, status, _, seconds, notes) in enumerate(RUNS, 1):
            settings = {"sources": ["osv", "nvd"], "limit": 300 + 100 * (number > 2)}
            store.start_run(run_id, "advisories", settings)
            store.upsert_intel_items_batch(items(run_id, number))
            store.write_telemetry(run_id, {"seconds": seconds, "tokens": {"in": 41_000 + 900 * number}, "errors": []})
            if status != "running":
                store.finish_run(run_id, status, notes)
    with sqlite3.connect(path) as rows:
        for run_id, status, hours, seconds, _ in RUNS:
            begun = NOW - timedelta(hours=hours)
            end = begun + timedelta(seconds=seconds) if status != "running" else NOW - timedelta(seconds=seconds)
            change = "UPDATE runs SET started_at = ?, finished_at = ?, heartbeat_at = ? WHERE run_id = ?"
            times = (begun.isoformat(), end.isoformat() if status != "running" else None, end.isoformat(), run_id)
            rows.execute(change, times)
            recorded = (begun + timedelta(seconds=9)).isoformat()
            rows.execute("UPDATE intel_items SET created_at = ? WHERE run_id = ?", (recorded, run_id))
    rows.close()


def items(run_id: str, number: int) -> Iterator[IntelItemInput]:
    """Yield the items of a run: in the later ones some are new, some gone, some decided otherwise."""
    libraries = ("zlib", "libxml2", "curl", "nginx", "openssl", "redis", "ffmpeg", "libpng")
    for each in range(number, number + 5):
        total = (each * 37 + number * 19) % 100
        yield {
            "item_id": f"{run_id}/CVE-2026-{each:04}",
            "run_id": run_id,
            "item_type": "advisory",
            "title": f"Out-of-bounds read in the parser of {libraries[each % 8]} before 2.{each}",
            "summary": "The parser trusts a length that the sender chose. The maintainers have confirmed it.",
            "claims_json": [{"text": "it can be reached over the network", "confidence": 0.8}],
            "evidence_json": [{"url": f"https://example.org/advisories/{each}", "quote": f"Upgrade to 2.{each}."}],
            "scores_json": {"total": total, "severity": round(total / 10, 1)},
            "risk_flags_json": ["single_source"] if each % 2 else [],
            "explainability_json": {"rule": "promote from 79, block below 30"},
            "decision": "promote" if total > 78 else "block" if total < 30 else None,
            "decision_reason": "by its score" if not 30 <= total <= 78 else None,
        }
