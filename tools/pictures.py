"""Draw docs/pictures: terminal, page and report of an invented store, in a headless Chromium, for `make pictures`."""

from __future__ import annotations

import io
import random
import shlex
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.state_store import IntelItemInput, StateStore
from orchestrator.state_store._report import write
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.browsing import Browser, page
from tests.cli.conftest import on_terminal

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
LAST = "advisories-0412"
COLUMNS = 100
VERBS = ("runs ls --limit 8", f"items ls --run {LAST} --best scores_json.total --limit 5")
LIBRARIES = ("zlib", "libxml2", "curl", "nginx", "openssl", "redis", "sqlite", "ffmpeg", "libpng", "postgres", "git")
FAULTS = (
    *("Out-of-bounds read", "Use after free", "Integer overflow", "Path traversal", "Denial of service", "Race"),
    *("Überlauf eines Puffers", "缓冲区溢出", "Утечка памяти", "認証の回避", "Fuite de données"),
)
PLACES = ("the parser", "the decoder", "the handshake", "archive entries", "the config loader", "long header lines")
FLAGS = ("no_fix", "unverified", "single_source", "withdrawn", "no_severity")


def items(run_id: str, number: int, chance: random.Random) -> Iterator[IntelItemInput]:
    """Yield the items of a run."""
    for each in range(number):
        total = round(chance.triangular(4, 99, 62))
        library, fault, place = chance.choice(LIBRARIES), chance.choice(FAULTS), chance.choice(PLACES)
        flags = chance.sample(FLAGS, chance.choice((0, 0, 1, 1, 2)))
        decision = "promote" if total > 78 else "block" if total < 30 else chance.choice(("monitor", "monitor", None))
        version = f"{chance.randint(1, 9)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}"
        yield {
            "item_id": f"{run_id}/CVE-2026-{each:05}",
            "run_id": run_id,
            "item_type": "advisory",
            "title": f"{fault} in {place} of {library} {version}",
            "summary": f"{fault} in {place}: {library} before {version} trusts a length that the sender chose. An "
            "attacker who can reach it ends the process, or reads memory next to the buffer. The maintainers have "
            "confirmed it and ask to upgrade.",
            "claims_json": [
                {"text": f"{library} before {version} is affected", "confidence": round(chance.uniform(0.6, 1), 2)},
                {"text": "it can be reached over the network", "confidence": round(chance.uniform(0.2, 1), 2)},
            ],
            "evidence_json": [
                {"url": f"https://example.org/advisories/{each}", "quote": f"Upgrade to {version}."},
                {"url": f"https://lists.example.org/{library}/{each}", "quote": "Confirmed by the maintainers."},
            ],
            "scores_json": {
                "total": total,
                "severity": round(min(10, total / 10 + chance.random()), 1),
                "novelty": round(chance.random(), 2),
                "trust": round(chance.uniform(0.4, 1), 2),
            },
            "risk_flags_json": flags,
            "explainability_json": {
                "rule": "promote from 79, block below 30, else monitor",
                "deductions": {flag: 5 * chance.randint(1, 7) for flag in flags},
            },
            "decision": decision,
            "decision_reason": ", ".join(flags) or "no risk flags" if decision else None,
        }


def make_store(path: Path) -> None:
    """Write a fortnight of runs. The last still run, and one of them has fallen silent."""
    chance = random.Random(20)
    now = datetime.now(UTC)
    times = []
    with StateStore(path) as store:
        for number in range(370, 413):
            kind = "feeds" if number % 4 == 1 else "advisories"
            run_id, age = f"{kind}-{number:04}", timedelta(hours=8 * (412 - number), minutes=chance.randint(2, 30))
            settings = {
                "sources": ["osv", "nvd", "ghsa"],
                "limit": 400 if number > 400 else 300,
                "model": {"name": "judge-large" if number > 404 else "judge-small", "temperature": 0.2},
            }
            store.start_run(run_id, kind, settings)
            count = 640 if run_id == LAST else chance.randint(20, 40)
            store.upsert_intel_items_batch(items(run_id, count, chance))
            tokens = round(chance.gauss(52_000, 4_000) + 900 * (number - 370))
            store.write_telemetry(
                run_id,
                {
                    "seconds": round(chance.gauss(190, 25), 1),
                    "tokens": {"in": tokens, "out": tokens // 9},
                    "latency_ms": {"p50": round(chance.gauss(310, 20)), "p95": round(chance.gauss(900, 80))},
                    "cost_usd": round(tokens * 3.1e-6, 3),
                    "errors": [] if number % 6 else ["ghsa: 429 Too Many Requests"],
                },
            )
            status = "failed" if number in (383, 407) else "partial" if number % 6 == 0 else "completed"
            notes = {
                "failed": "OSError: feeds.example.org: connection refused (attempt 5 of 5)",
                "partial": "ghsa: 429",
            }
            if number < 411:
                store.finish_run(run_id, status, notes.get(status))
            silence = timedelta(minutes=21) if number == 411 else timedelta(seconds=2)
            begun = now - (age if number < 411 else timedelta(minutes=47 if number == 411 else 4))
            ended = begun + timedelta(seconds=chance.gauss(190, 25)) if number < 411 else None
            times.append((begun, ended, ended or now - silence, run_id))
    with sqlite3.connect(path) as rows:
        for begun, ended, alive, run_id in times:
            end = ended and ended.isoformat()
            change = "UPDATE runs SET started_at = ?, finished_at = ?, heartbeat_at = ? WHERE run_id = ?"
            rows.execute(change, (begun.isoformat(), end, alive.isoformat(), run_id))
            recorded = (begun + timedelta(seconds=9)).isoformat()
            rows.execute("UPDATE intel_items SET created_at = ? WHERE run_id = ?", (recorded, run_id))
    rows.close()


def draw(folder: Path) -> None:
    """Draw the pictures of a store that is made in this folder."""
    path, report, terminal = folder / "state.db", folder / "report.html", folder / "terminal.html"
    make_store(path)
    with StateStore(path, read_only=True) as store, report.open("wb") as file:
        write(store, LAST, file)
    terminal.write_text(on_a_terminal(path), encoding="utf-8")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        sys.exit("pictures: install Debian's chromium, chromium-driver and fonts-noto-cjk")
    browser = Browser(*filter(None, programs))
    try:
        with page(path) as address:
            browser.driver.get(address)
            base = address.partition("/?")[0]
            views = {
                "page-runs": ("/runs", 1280, 620, False),
                "page-run": (f"/run?id={LAST}&order=best&by=total", 1280, 640, True),
            }
            for name, (view, width, height, dark) in views.items():
                shoot(browser, name, base + view, width, height, dark=dark)
        shoot(browser, "terminal", terminal.as_uri(), 985, 560, dark=False)
        shoot(browser, "report", report.as_uri(), 1280, 900, dark=False)
    finally:
        browser.driver.quit()


def on_a_terminal(path: Path) -> str:
    """Return HTML of what a terminal shows."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for words in VERBS:
        console.print(f"$ orchestrator-state {words}", highlight=False)
        lines = on_terminal(COLUMNS, str(path), *shlex.split(words), TZ="UTC").lines
        console.print(Text.from_ansi("\n".join(lines)), end="\n\n")
    return console.export_html(theme=MONOKAI, inline_styles=True)


def shoot(browser: Browser, name: str, address: str, width: int, height: int, *, dark: bool) -> None:
    """Draw one picture, of what is seen without scrolling."""
    browser.look(width, height=height, dark=dark)
    browser.driver.get(address)
    found = browser.faults()
    if found:
        sys.exit(f"pictures: {name}: {found}")
    browser.driver.save_screenshot(str(PICTURES / f"{name}.png"))


def main() -> None:
    """Draw all pictures anew."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder))


if __name__ == "__main__":
    main()
