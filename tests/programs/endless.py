"""Calls on files whose schema computes for ever, that a real SIGINT or a close ends."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError, StoreClosedError

from tests.helpers import plain_sqlite
from tests.programs.exits import item
from tests.programs.signals import interrupted


def delete_in_a_transaction(store: StateStore) -> None:
    """Delete the run in a transaction, in which something was written before."""
    with store.transaction():
        store.upsert_intel_item(item("new"))
        store.delete_run("run-1", force=True)


ACTS: dict[str, Callable[[StateStore], object]] = {
    "delete_run": lambda store: store.delete_run("run-1", force=True),
    "delete_run in a transaction": delete_in_a_transaction,
    "delete_intel_item": lambda store: store.delete_intel_item("a"),
    "prune": lambda store: store.prune(keep_last=0),
}
"""What a foreign key's action makes endless."""

READS: dict[str, Callable[[StateStore], object]] = {
    "get_intel_item": lambda store: store.get_intel_item("a"),
    "count_intel_items": lambda store: store.count_intel_items(),
    "count_intel_items_by": lambda store: store.count_intel_items_by("decision"),
    "list_intel_items": lambda store: store.list_intel_items(),
    "iter_intel_items": lambda store: next(store.iter_intel_items()),
    "check": lambda store: store.check(),
}
"""What a view in the place of a table makes endless."""

ALL = ACTS | READS


def interrupt(path: str, act: str, change: str) -> dict[str, Any]:
    """Have a schema changed while a store is open, and be interrupted in a call; return how long, and what is left."""
    with StateStore(path) as store:
        before = store.connection.execute("SELECT count(*) FROM runs").fetchall()
        change_meanwhile(path, change)
        seconds = interrupted(lambda: ALL[act](store))
        after = store.connection.execute("SELECT count(*) FROM runs").fetchall()
    return {"seconds": seconds, "same": before == after}


def change_meanwhile(path: str, change: str) -> None:
    """Run statements in a process of its own."""
    if change:
        plain_sqlite(Path(path), *change.split(";;"))


def close_meanwhile(path: str, act: str, change: str) -> float:
    """Close a store while a call of it goes on for ever in another thread; return how long both took."""
    store = StateStore(path)
    store.count_runs()
    change_meanwhile(path, change)
    ended: list[str] = []

    def call() -> None:
        try:
            ALL[act](store)
        except StoreClosedError:
            ended.append("closed")

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    store.close()
    thread.join()
    assert ended == ["closed"]
    return time.monotonic() - began


def handled_by_others(path: str, change: str) -> dict[str, Any]:
    """Be interrupted in a long call, where the handler does not raise; return what the call did."""
    handled: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: handled.append(number))
    with StateStore(path) as store:
        store.count_runs()
        change_meanwhile(path, change)
        timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        try:
            store.delete_run("run-1", force=True)
        except StateStoreError as error:
            outcome = str(error)
        else:
            outcome = "deleted"
        seconds = time.monotonic() - began
        timer.join()
        runs = store.count_runs()
    assert seconds > 0.04, "it was over before the signal came"
    return {"outcome": outcome, "handled": len(handled), "runs": runs, "seconds": seconds}
