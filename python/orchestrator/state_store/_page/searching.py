"""Search by the beginning of an id, and by words of a title."""

from __future__ import annotations

import time
from typing import Any

from orchestrator.state_store import IntelItem, StateStore
from orchestrator.state_store._page.asking import Answer, Asked
from orchestrator.state_store._page.runs import described

_MOST = 20
_AT_A_TIME = 500
_QUICK, _LONG = 0.05, 5.0
"""Seconds for which titles are looked through: there is no index of words. People may ask for more."""

_FIELDS = ("item_id", "run_id", "title", "decision", "created_at")


def search(store: StateStore, asked: Asked) -> Answer:
    """Search for runs and items."""
    words = asked.get("q", "").strip()
    if not words:
        return Answer({"query": "", "runs": [], "by_id": [], "by_title": [], "searched": 0, "next_cursor": None})
    runs = store.list_runs(run_id_prefix=words, limit=_MOST)
    by_id = _by_id(store, words)
    by_title, searched, cursor = _by_title(store, words, asked.get("cursor"), _LONG if "long" in asked else _QUICK)
    data = {
        "query": words,
        "runs": [described(run) for run in runs],
        "by_id": by_id,
        "by_title": by_title,
        "searched": searched,
        "next_cursor": cursor,
    }
    return Answer(data, {"records": runs, "most": _MOST})


def _by_id(store: StateStore, prefix: str) -> list[dict[str, Any]]:
    """Return the items whose ids begin so. The store has no such filter, but an index of the ids."""
    sql = "SELECT item_id, run_id, title, decision FROM intel_items WHERE item_id >= $1"
    end = _after(prefix)
    bounds = (prefix, end) if end else (prefix,)
    sql += " AND item_id < $2" if end else ""
    rows = store.connection.execute(f"{sql} ORDER BY item_id LIMIT {_MOST}", bounds).fetchall()
    found = [dict(zip(("item_id", "run_id", "title", "decision"), row, strict=True)) for row in rows]
    # The tables have the rows of runs that are being pruned as well; the calls have not.
    there = {run_id for run_id in {item["run_id"] for item in found} if store.get_run(run_id)}
    return [item for item in found if item["run_id"] in there]


def _after(prefix: str) -> str | None:
    """Return the first text behind all that begin so; None if there is none."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= following < 0xE000 else following)


def _by_title(
    store: StateStore, words: str, cursor: str | None, seconds: float
) -> tuple[list[IntelItem], int, str | None]:
    """Return items whose titles have all the words, newest first; how many were looked at; and where to go on."""
    wanted = words.casefold().split()
    found: list[IntelItem] = []
    searched, end = 0, time.monotonic() + seconds
    while True:
        page = store.list_intel_items(fields=_FIELDS, order="newest", limit=_AT_A_TIME, cursor=cursor)
        for place, item in enumerate(page, 1):
            title = item["title"].casefold()
            if all(word in title for word in wanted):
                found.append(item)
                if len(found) == _MOST:
                    # The page anew, up to here, for the cursor that goes on behind this item.
                    rest = store.list_intel_items(fields=("item_id",), order="newest", limit=place, cursor=cursor)
                    return found, searched + place, rest.next_cursor
        searched, cursor = searched + len(page), page.next_cursor
        if cursor is None or time.monotonic() > end:
            return found, searched, cursor
