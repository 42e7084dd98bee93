"""Programs whose power is cut: one that writes while it is recorded, and one that looks at what a cut has left."""

import json
import os
import threading
from pathlib import Path
from typing import Literal

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, oracle, say

LIVES = 2
KINDS = ("item", "batch", "block", "version")


def write(path: str, synchronous: Literal["FULL", "NORMAL"], count: int) -> None:
    """Write from some threads, close, do it again, and end without closing; say what was acknowledged."""
    for life in range(LIVES):
        with StateStore(path, synchronous=synchronous) as store:
            if life == 0:
                store.start_run("run-1", "daily", {})
                say("run run-1")
            threads = [threading.Thread(target=repeat, args=(store, kind, life * count, count)) for kind in KINDS]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if life == LIVES - 1:
                os._exit(0)


def repeat(store: StateStore, kind: str, first: int, count: int) -> None:
    """Make writes of a kind, one after another."""
    for number in range(first, first + count):
        name = f"{number}" if kind == "version" else f"{kind}-{number}"
        oracle.WRITES[kind](store, name)
        say(f"{kind} {name}")


def look() -> None:
    """Open each store that the test names, and say what is wrong: the error, or what is lost, torn or unsound."""
    while question := hear():
        path, acknowledged = json.loads(question)
        try:
            with StateStore(path) as store:
                there, wrong = oracle.inspect(store)
        except StateStoreError as error:
            there, wrong = set(), [f"{type(error).__name__}: {error}"]
        for file in Path(path).parent.iterdir():
            file.unlink()
        say(json.dumps({"lost": sorted(set(acknowledged) - there), "wrong": wrong}))
