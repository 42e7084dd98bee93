"""Programs that go on writing while the system fails now and then, and say what each call told them."""

import itertools
import os
import signal
import threading
from collections.abc import Callable

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, oracle, say

DONE = "done"
THREADS = 3
FULL_ROUND = ("run", "telemetry", "finish", "item", "batch", "block")
MIXED = ("item", "batch", "block", "item", "version")


def attempt(what: str, call: Callable[[], object]) -> bool:
    """Call, and say in a line what was tried, how it ended, and the error's message; return whether it worked."""
    try:
        call()
    except StateStoreError as error:
        say(f"{what}\t{type(error).__name__}\t{error}")
        return False
    say(f"{what}\t{DONE}\t")
    return True


def write(store: StateStore, kind: str, name: str) -> bool:
    """Attempt one write."""
    return attempt(f"{kind} {name}", lambda: oracle.WRITES[kind](store, name))


def opened(path: str) -> StateStore:
    """Open a store that may need more than one attempt, with the run in it that all items are of."""
    stores: list[StateStore] = []
    while not attempt("open", lambda: stores.append(StateStore(path))):
        pass
    while stores[0].connection.execute("SELECT 1 FROM runs").fetchone() is None:
        attempt("start", lambda: stores[0].start_run("run-1", "daily", {}))
    return stores[0]


def write_and_be_killed(path: str, rounds: int) -> None:
    """Write in every way, some rounds of it, and die by SIGKILL."""
    store = opened(path)
    for number, kind in itertools.product(range(rounds), FULL_ROUND):
        write(store, kind, f"{kind}-{number}" if kind in ("item", "batch", "block") else f"{number}")
    os.kill(os.getpid(), signal.SIGKILL)


def write_mixed(path: str, writes: int) -> None:
    """Write from some threads, reading now and then; close, open and go on, and end without closing."""
    each = writes // THREADS // 2
    for life in range(2):
        store = opened(path)
        threads = [threading.Thread(target=mix, args=(store, each, thread, life * each)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if life == 0:
            attempt("close", store.close)
    os._exit(0)


def mix(store: StateStore, count: int, thread: int, first: int) -> None:
    """Make all kinds of writes, and read after batches. Versions are one thread's: they go upwards."""
    for number in range(first, first + count):
        kind = MIXED[number % len(MIXED)]
        if kind == "version" and thread > 0:
            kind = "item"
        write(store, kind, f"{number}" if kind == "version" else f"{kind}-{thread}-{number}")
        if kind == "batch":
            attempt("read", lambda: store.list_intel_items_for_run("run-1"))


def write_as_a_group(path: str, threads: int) -> None:
    """Write from threads that have all to wait for one transaction, so that they share the next commit."""
    store = opened(path)
    write(store, "item", "before")
    say("opened")
    hear()
    with store.transaction():
        names = [f"group-{number}" for number in range(threads)]
        work = [threading.Thread(target=write, args=(store, "item", name)) for name in names]
        for thread in work:
            thread.start()
        say("waiting")
        hear()
    for thread in work:
        thread.join()
    say("told")
    hear()
    write(store, "item", "after")
    os._exit(0)
