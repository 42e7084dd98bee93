"""The items that are written: made up, and real advisories where they are at hand."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Item = dict[str, Any]

ADVISORIES = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "advisories.jsonl"
MADE_UP, REAL = "made up", "advisories"
SOURCES = (MADE_UP, REAL) if ADVISORIES.exists() else (MADE_UP,)

BODIES = 10_000
"""How many items differ in more than their ids."""

VOCABULARY = """
a an the of in to is was that may can which before after when where attacker remote user versions parser
buffer request header session token memory overflow validation upgrade release package allows affected crafted reads
writes default server client certificate signature path traversal injection denial service unauthenticated
für über größer naïve café año señor données sécurité проверка уязвимость 版本 漏洞 検証 → “quoted” 🔒
"""
WORDS = VOCABULARY.split()


def make_items(source: str, run_id: str, count: int = BODIES, *, first: int = 0, revision: int = 0) -> list[Item]:
    """Return items number `first` and on; another revision of an item differs in its title."""
    bodies = _bodies(source)
    numbered = [(number, bodies[number % len(bodies)]) for number in range(first, first + count)]
    mark = f" (revision {revision})" if revision else ""
    return [
        {**body, "item_id": f"{run_id}/{body['item_id']}-{number}", "run_id": run_id, "title": body["title"] + mark}
        for number, body in numbered
    ]


@functools.cache
def _bodies(source: str) -> Sequence[Item]:
    return [_made_up(random.Random(seed)) for seed in range(BODIES)] if source == MADE_UP else _advisories()


def _made_up(rng: random.Random) -> Item:
    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    host = f"https://example.org/{rng.randrange(10**6)}"
    return {
        "item_id": f"source-{rng.randrange(10**9):09}",
        "item_type": rng.choice(["advisory", "release", "note"]),
        "title": text(9),
        "summary": text(60),
        "claims_json": [
            {"text": text(27), "confidence": rng.random()},
            {"affected": [f"package-{rng.randrange(1000)}" for _ in range(3)]},
        ],
        "evidence_json": [f"{host}/{name}" for name in ("report", "commit", "release")],
        "scores_json": {"severity": rng.random() * 10, "total": rng.randrange(100), "words": rng.randrange(2000)},
        "risk_flags_json": ["unverified"] if rng.random() < 0.6 else [],
        "explainability_json": [{"rule": f"r{rng.randrange(7)}", "why": text(12)}],
        "decision": rng.choice(["monitor", None]),
        "decision_reason": None,
    }


def _advisories() -> Sequence[Item]:
    with ADVISORIES.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [_advisory(records[number % len(records)], number) for number in range(BODIES)]


def _advisory(record: dict[str, Any], number: int) -> Item:
    details = record["details"]
    packages = [affected["package"]["name"] for affected in record.get("affected", [])]
    return {
        "item_id": record["id"],
        "item_type": "advisory",
        "title": (record.get("summary") or details)[:100],
        "summary": details[:500],
        "claims_json": [
            {"text": details[number % 50 :][:220], "confidence": 0.5 + number % 50 / 100},
            {"affected": packages[:3]},
        ],
        "evidence_json": [reference["url"] for reference in record.get("references", [])][:3],
        "scores_json": {"severity": number % 10 / 3, "total": number % 100, "length": len(details)},
        "risk_flags_json": ["unverified"] if number % 3 else [],
        "explainability_json": [{"rule": f"r{number % 7}", "why": details[:100]}],
        "decision": None if number % 2 else "monitor",
        "decision_reason": None,
    }
