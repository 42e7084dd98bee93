"""A program whose signal handler forks inside a call that waits or takes long, and whose child returns into it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import orchestrator.state_store
from orchestrator.state_store import StateStore, TransactionError

from tests.programs import say
from tests.programs.exits import item
from tests.programs.forking import Gate, write

LONG = 0.3
"""Seconds; several times what a call goes on without looking for signals."""
TOO_LATE = 7
"""How a child ends that was forked when the call was over already."""
TIMES = 50

CALLS: dict[str, Callable[[StateStore], Any]] = {
    "upsert": lambda store: store.upsert_intel_item(item("in-call")),
    "batch": lambda store: store.upsert_intel_items_batch(item(f"in-call-{index}") for index in range(2000)),
    "transaction": lambda store: store.transaction().__enter__(),
    "delete_run": lambda store: store.delete_run("empty", force=True),
    "checkpoint": lambda store: store.checkpoint(),
    "query": lambda store: store.connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000) SELECT sum(i) FROM n"
    ).fetchall(),
    "list": lambda store: store.list_intel_items(where={"scores_json.n": (">", 5)}),
    "best": lambda store: store.list_intel_items(order_by="scores_json.n", limit=5),
    "check": lambda store: store.check(),
    "vacuum": lambda store: store.vacuum(full=True),
    "prune": lambda store: store.prune(keep_last=0),
}
WAITING = ["upsert", "batch", "transaction", "delete_run", "checkpoint", "vacuum", "prune"]
"""Those that wait for another thread, which is inside a transaction."""


def play(path: str, what: str) -> None:
    """Fork inside a call, and have the child return into it; say what parent and child were told is written."""
    store = StateStore(path)
    for run_id in ("run-1", "many", "empty"):
        store.start_run(run_id, "daily", {})
    entered, forked, over = threading.Event(), threading.Event(), Gate()
    pids: list[int] = []
    inside = False

    def handle(_signal: int, _frame: object) -> None:
        nonlocal inside
        if inside and not pids:
            # The next signal may have come already, and be handled before this one is.
            inside = False
            pids.append(os.fork())
            forked.set()

    def hold() -> None:
        with store.transaction():
            store.upsert_intel_item(item("held"))
            entered.set()
            forked.wait()
        say("held")

    holder = threading.Thread(target=hold)
    if what in WAITING:
        holder.start()
        entered.wait()
    elif what != "query":
        fill(store, CALLS[what])
    # A first call that still imports would be forked in before it waits.
    orchestrator.state_store.store.import_all()
    signal.signal(signal.SIGALRM, handle)
    for _ in range(TIMES):
        told = ""
        pids.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            while not pids:
                inside = True
                CALLS[what](store)
                inside = False
        except TransactionError as error:
            told = str(error)
        inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if pids == [0]:
            child(store, path, over, told, what)
        assert told == ""
        if what in WAITING:
            holder.join()
        if what == "transaction":
            store.close()
            store = StateStore(path)
        over.open()
        status = os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1])
        if status == 0:
            break
        assert status == TOO_LATE, "the child was not told, or could not go on"
    assert status == 0, "no fork was inside a call"
    write(store, "parent", 3)
    store.close()


def fill(store: StateStore, call: Callable[[StateStore], Any]) -> None:
    """Add items until the call takes long, however fast the machine is."""
    count, took = 0, 0.0
    while took < LONG:
        store.upsert_intel_items_batch(
            {**item(f"many-{count + index}"), "run_id": "many"} for index in range(max(count, 50_000))
        )
        count = max(2 * count, 50_000)
        started = time.monotonic()
        call(store)
        took = time.monotonic() - started


def child(store: StateStore, path: str, over: Gate, told: str, what: str) -> NoReturn:
    """Go on after the call."""
    code = 1
    os.close(over.writer)
    try:
        over.wait()
        if told or what in WAITING:
            assert "forked inside" in told, told
            write(store, "child", 3)
            with StateStore(path) as own:
                write(own, "child-anew", 3)
            store.close()
            code = 0
        else:
            code = TOO_LATE
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)
