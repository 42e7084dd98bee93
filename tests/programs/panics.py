"""A program with a worker thread that panics, for it cannot tell the time. Says what the next calls were told."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs.exits import item

LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000000) SELECT count(*) FROM n"


def upsert_many(store: StateStore) -> None:
    store.upsert_intel_items_batch(item(f"many-{index}") for index in range(3000))


def fill_log(store: StateStore) -> None:
    """Write until the checkpointer is wanted, and panics."""
    names = map("many-{}".format, itertools.count())
    while store.stats().panicked is None:
        store.upsert_intel_items_batch(item(name) | {"summary": "s" * 10_000} for name in itertools.islice(names, 400))


def run_block(store: StateStore) -> None:
    with store.run("beating", "daily", {}):
        while store.stats().panicked is None:
            pass


WORKS: dict[str, Callable[[StateStore], Any]] = {
    "checkpointer": fill_log,
    "heartbeats": run_block,
    "batch-writer": upsert_many,
    "list-reader": lambda store: store.list_intel_items(),
    "long-query": lambda store: store.connection.execute(LONG),
    "check": lambda store: store.check(),
    "vacuum": lambda store: store.vacuum(full=True),
}
"""By the thread that works."""

CALLS: dict[str, Callable[[StateStore], Any]] = {
    "upsert": lambda store: store.upsert_intel_item(item("after")),
    "batch": lambda store: store.upsert_intel_items_batch([item("after-a"), item("after-b")]),
    "transaction": lambda store: store.transaction().__enter__(),
    "start": lambda store: store.start_run("after", "daily", {}),
    "list": lambda store: store.list_intel_items(),
    "count": lambda store: store.count_intel_items(),
    "query": lambda store: store.connection.execute("SELECT 1"),
    "check": lambda store: store.check(),
    "checkpoint": lambda store: store.checkpoint(),
    "prune": lambda store: store.prune(keep_last=0),
}


def told(call: Callable[[StateStore], Any], store: StateStore) -> tuple[str, str] | None:
    """Return the error that a call raises."""
    try:
        call(store)
    except StateStoreError as error:
        return type(error).__name__, str(error)
    return None


def play(path: str, thread: str, look: int) -> dict[str, Any]:
    """Have a thread panic at its so-manieth look at the time; return what the calls that came next were told."""
    store = StateStore(path, busy_timeout=2)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_items_batch(item(f"before-{index}") for index in range(1000))
    before = store.stats().panicked
    switch = Path(os.environ["FAULT_SWITCH"])
    switch.write_text(f"clock {thread} {look}")
    own = told(WORKS[thread], store)
    switch.write_text("")
    began = time.monotonic()
    calls = {name: told(call, store) for name, call in CALLS.items()}
    took = time.monotonic() - began
    panicked = store.stats().panicked
    with StateStore(path, busy_timeout=0.1) as other:
        locked = told(lambda store: store.upsert_intel_item(item("other")), other)
    store.close()
    with StateStore(path) as again:
        names = [each["item_id"] for each in again.list_intel_items()]
        again.upsert_intel_item(item("again"))
        after = again.stats().panicked
    return {
        "own": own,
        "calls": calls,
        "took": took,
        "locked": locked,
        "panicked": (before, panicked, after),
        "before": sum(name.startswith("before-") for name in names),
        "many": sum(name.startswith("many-") for name in names),
        "written by the calls": [name for name in names if name.startswith("after")],
    }
