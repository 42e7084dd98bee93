"""Writes that can be told apart in the file, and what the file says of them.

After whatever happened, what was acknowledged is there, batches and transactions are whole, and the file is sound.
"""

import collections
import json
from collections.abc import Callable
from typing import Any

from orchestrator.state_store import StateStore

from tests.programs.exits import item

PARTS = 4
REPEATS = 90_000
"""How often the text of a version is repeated: some of them and the log is checkpointed, while the file stays small."""


def group(name: str, run_id: str = "run-1") -> list[dict[str, Any]]:
    """Return items that belong together."""
    return [{**item(f"{name}.{part}"), "run_id": run_id} for part in range(PARTS)]


def version(number: int) -> dict[str, Any]:
    """Return an item that is written again and again, each time with another text."""
    return {**item("version"), "title": f"{number}", "claims_json": f"{number:06}" * REPEATS}


def write_block(store: StateStore, name: str) -> None:
    """Write a whole run in one transaction."""
    with store.transaction():
        store.start_run(name, "block", {})
        for part in group(name, name):
            store.upsert_intel_item(part)
        store.write_telemetry(name, {})
        store.finish_run(name, "completed")


WRITES: dict[str, Callable[[StateStore, str], object]] = {
    "item": lambda store, name: store.upsert_intel_item(item(name)),
    "batch": lambda store, name: store.upsert_intel_items_batch(group(name)),
    "block": write_block,
    "version": lambda store, name: store.upsert_intel_item(version(int(name))),
    "run": lambda store, name: store.start_run(name, "daily", {}),
    "telemetry": lambda store, name: store.write_telemetry(name, {}),
    "finish": lambda store, name: store.finish_run(name, "completed"),
}
"""How to write each kind. Telemetry and the end are those of a run of that name; versions are numbered."""


def inspect(store: StateStore) -> tuple[set[str], list[str]]:
    """Return what is there, as kind and name, and what is torn or unsound."""
    query = store.connection.execute
    wrong = [row[0] for row in query("PRAGMA integrity_check") if row[0] != "ok"]
    wrong += [f"an orphan: {tuple(row)}" for row in query("PRAGMA foreign_key_check")]

    ids = [row[0] for row in query("SELECT item_id FROM intel_items")]
    items = [item_id for item_id in ids if item_id is not None]
    wrong += ["an item without an id"] * (len(ids) - len(items))
    groups = collections.Counter(name.rpartition(".")[0] for name in items if "." in name)
    runs = {row["run_id"]: row for row in query("SELECT * FROM runs LEFT JOIN telemetry USING (run_id)")}
    finished = {name for name, run in runs.items() if run["status"] == "completed"}
    told = {name for name, run in runs.items() if run["telemetry_json"] is not None}
    blocks = {name for name, run in runs.items() if run["run_type"] == "block"}

    wrong += [f"{name} is torn" for name, parts in groups.items() if parts != PARTS]
    wrong += [f"{name} is torn" for name in blocks if name not in finished & told & set(groups)]
    there = {"item": items, "batch": set(groups) - blocks, "block": blocks, "run": runs}
    there |= {"finish": finished, "telemetry": told, "version": versions(store, wrong)}
    return {f"{kind} {name}" for kind, names in there.items() for name in names}, wrong


def versions(store: StateStore, wrong: list[str]) -> list[str]:
    """Return the number of the version that is there, and all before it; note if it is torn."""
    rows = store.connection.execute("SELECT title, claims_json FROM intel_items WHERE item_id = 'version'").fetchall()
    if not rows:
        return []
    last = int(rows[0]["title"])
    if json.loads(rows[0]["claims_json"]) != version(last)["claims_json"]:
        wrong.append(f"version {last} is torn")
    return [f"{number}" for number in range(last + 1)]
