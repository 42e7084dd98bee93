"""Programs that prune and vacuum, and that look on."""

import itertools
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

from orchestrator.state_store import InvalidValueError, StateStore

from tests.programs import hear, say
from tests.programs.exits import item
from tests.programs.signals import interrupted

PARTS = 100
"""Items of a run."""


def read(path: str, run_id: str) -> None:
    """Say how many items a run has, again and again, whenever told to."""
    with StateStore(path, read_only=True) as store:
        while True:
            say(f"{len(store.list_intel_items_for_run(run_id))}")
            try:
                hear()
            except EOFError:
                return


def hold_a_read(path: str) -> None:
    """Hold a read transaction, as another program does, until told to let go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM runs").fetchall()
        say()
        hear()


def vacuum_and_fork(path: str) -> list[int]:
    """Vacuum, fork, and write in child and parent; return how many items each then found."""
    with StateStore(path) as store:
        store.vacuum()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            store.upsert_intel_item({**item("of the child"), "run_id": "second"})
            os.write(writing, b"%d" % len(store.list_intel_items_for_run("second")))
            os._exit(0)
        os.close(writing)
        found = int(os.read(reading, 100))
        os.waitpid(child, 0)
        store.upsert_intel_item({**item("of the parent"), "run_id": "second"})
        store.vacuum(full=True)
        return [found, len(store.list_intel_items_for_run("second"))]


def names(run_id: str, parts: int = PARTS) -> Iterator[str]:
    """Return the ids of a run's items."""
    return (f"{run_id}.{part}" for part in range(parts))


def record(store: StateStore, run_id: str, parts: int = PARTS) -> None:
    """Record a run that is completed."""
    with store.transaction():
        store.start_run(run_id, "old", {})
        store.upsert_intel_items_batch({**item(name), "run_id": run_id} for name in names(run_id, parts))
        store.write_telemetry(run_id, {})
        store.finish_run(run_id, "completed")


def prune(path: str, older_than: float) -> list[int]:
    """Prune all runs that are old, once told to; return what was deleted."""
    with StateStore(path, synchronous="NORMAL") as store:
        say()
        hear()
        done = store.prune(older_than=older_than, run_type="old")
        return [done.runs, done.intel_items, done.telemetry]


def watch(path: str, runs: int) -> int:
    """List old runs until told to end; return how many lists were neither whole nor empty."""
    done = threading.Event()
    torn = 0

    def wait() -> None:
        hear()
        done.set()

    with StateStore(path) as store:
        say()
        threading.Thread(target=wait, daemon=True).start()
        while not done.is_set():
            for run in range(runs):
                torn += len(store.list_intel_items_for_run(f"old-{run}")) not in {0, PARTS}
    return torn


def see_again(path: str, runs: int) -> list[str]:
    """Once told to, upsert the items of old runs as those of `run-1`, until told to end; return those that were."""
    done = threading.Event()
    written: list[str] = []

    def wait() -> None:
        hear()
        done.set()

    with StateStore(path, synchronous="NORMAL") as store:
        say()
        hear()
        threading.Thread(target=wait, daemon=True).start()
        for name in itertools.chain.from_iterable(names(f"old-{run}") for run in range(runs)):
            store.upsert_intel_item({**item(name), "title": "again"})
            written.append(name)
            if done.is_set():
                break
    return written


def again_and_again(act: Callable[[], object]) -> None:
    """Do something until it is interrupted."""
    while True:
        act()


def interrupt_when_marked(store: StateStore) -> None:
    """Prune, and be interrupted once the runs have disappeared, while the prune waits for its next turn."""
    interrupted = threading.Event()
    # A shell that starts the tests in the background has them ignore SIGINT, and so their programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        while not store.connection.execute("SELECT 1 FROM runs WHERE pruned_at IS NOT NULL").fetchall():
            pass
        with store.transaction():
            os.kill(os.getpid(), signal.SIGINT)
            interrupted.wait()

    threading.Thread(target=interrupt).start()
    try:
        store.prune(keep_last=0)
    finally:
        interrupted.set()


LONG: dict[str, Callable[[StateStore], object]] = {
    "vacuum": lambda store: again_and_again(lambda: store.vacuum(full=True)),
    "check": lambda store: again_and_again(store.check),
    "stats": lambda store: again_and_again(store.stats),
}


def fill(store: StateStore) -> None:
    """Record old runs of 100,000 items together."""
    for run in range(50):
        store.start_run(f"old-{run}", "old", {})
        store.upsert_intel_items_batch({**item(f"{run}.{part}"), "run_id": f"old-{run}"} for part in range(2000))
        store.finish_run(f"old-{run}", "completed")


def be_interrupted(path: str, act: str) -> float:
    """Do what takes long, be interrupted, and write; return the seconds from the signal to KeyboardInterrupt."""
    with StateStore(path, synchronous="NORMAL") as store:
        fill(store)
        seconds = interrupted(lambda: LONG[act](store))
        store.start_run("after", "daily", {})
        return seconds


def prune_and_be_interrupted(path: str) -> None:
    """Prune, be interrupted once the runs have disappeared, and write."""
    with StateStore(path, synchronous="NORMAL") as store:
        fill(store)
        try:
            interrupt_when_marked(store)
        except KeyboardInterrupt:
            store.start_run("after", "daily", {})


def prune_beside(path: str) -> str:
    """Prune all old runs, once told to, where a row refers to one of them; return what the error says."""
    with StateStore(path, synchronous="NORMAL") as store:
        say()
        hear()
        try:
            store.prune(older_than=0, run_type="old")
        except InvalidValueError as error:
            return str(error)
        return ""
