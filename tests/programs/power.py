"""Programs whose power is cut: one that writes while it is recorded, and one that looks at what a cut has left."""

import collections
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.exits import item

LIVES = 2
PARTS = 4
REPEATS = 30_000
"""How often the text of a version is repeated: some of them and the log is folded, while the file stays small."""


def version(number: int) -> dict[str, Any]:
    """Return an item that is written again and again, each time with another text."""
    return {**item("version"), "title": f"{number}", "claims_json": f"{number:06}" * REPEATS}


def write(path: str, synchronous: Literal["FULL", "NORMAL"], count: int) -> None:
    """Write from four threads, close, do it again, and end without closing; say what was acknowledged."""
    for life in range(LIVES):
        with StateStore(path, synchronous=synchronous) as store:
            if life == 0:
                store.start_run("run-1", "daily", {})
                say("run run-1")

            def single(name: str, store: StateStore = store) -> None:
                store.upsert_intel_item(item(name))
                say(f"item {name}")

            def batch(name: str, store: StateStore = store) -> None:
                store.upsert_intel_items_batch({**item(f"{name}.{part}"), "claims_json": name} for part in range(PARTS))
                say(f"batch {name}")

            def block(name: str, store: StateStore = store) -> None:
                with store.transaction():
                    store.start_run(name, "block", {})
                    for part in range(PARTS):
                        store.upsert_intel_item({**item(f"{name}.{part}"), "claims_json": name})
                    store.write_telemetry(name, {})
                    store.finish_run(name, "completed")
                say(f"block {name}")

            def next_version(name: str, store: StateStore = store, life: int = life) -> None:
                number = life * count + int(name.rpartition("-")[2])
                store.upsert_intel_item(version(number))
                say(f"version {number}")

            calls: tuple[Callable[[str], None], ...] = (single, batch, block, next_version)
            threads = [threading.Thread(target=repeat, args=(call, life, count)) for call in calls]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if life == LIVES - 1:
                os._exit(0)


def repeat(call: Callable[[str], None], life: int, count: int) -> None:
    """Call with one name after another."""
    for number in range(count):
        call(f"{call.__name__}-{life}-{number}")


def look() -> None:
    """Open each store that the test names, and say what is wrong: the error, or what is lost, torn or unsound."""
    while question := hear():
        path, acknowledged = json.loads(question)
        try:
            with StateStore(path) as store:
                there, wrong = inspect(store)
        except StateStoreError as error:
            there, wrong = set(), [f"{type(error).__name__}: {error}"]
        for file in Path(path).parent.iterdir():
            file.unlink()
        say(json.dumps({"lost": sorted(set(acknowledged) - there), "wrong": wrong}))


def inspect(store: StateStore) -> tuple[set[str], list[str]]:
    """Return what is there, as it was acknowledged, and what is torn or unsound."""
    query = store.connection.execute
    wrong = [row[0] for row in query("PRAGMA integrity_check") if row[0] != "ok"]
    wrong += [f"an orphan: {tuple(row)}" for row in query("PRAGMA foreign_key_check")]

    rows = query("SELECT item_id, title, claims_json FROM intel_items").fetchall()
    there = {f"item {row['item_id']}" for row in rows}
    for row in rows:
        if row["item_id"] == "version":
            number = int(row["title"])
            there |= {f"version {earlier}" for earlier in range(number + 1)}
            if json.loads(row["claims_json"]) != version(number)["claims_json"]:
                wrong.append(f"version {number} is torn")

    groups = collections.Counter(row["item_id"].rpartition(".")[0] for row in rows if "." in row["item_id"])
    wrong += [f"{name} is torn" for name, parts in groups.items() if parts != PARTS]
    runs = {row["run_id"]: row for row in query("SELECT * FROM runs LEFT JOIN telemetry USING (run_id)")}
    there |= {f"run {name}" for name in runs} | {f"batch {name}" for name in groups}
    for name, run in runs.items():
        if name.startswith("block"):
            there.add(f"block {name}")
            if name not in groups or run["status"] != "completed" or run["telemetry_json"] is None:
                wrong.append(f"{name} is torn")
    wrong += [f"{name} is torn" for name in groups if name.startswith("block") and name not in runs]
    return there, wrong
