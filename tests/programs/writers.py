"""Programs that write to one file together, and that are killed while they write."""

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestrator.state_store import StateStore

from tests.programs import hear, say


def item(run_id: str, name: str, claims: Any = None) -> dict[str, Any]:
    """Return an item."""
    return {"item_id": name, "run_id": run_id, "item_type": "note", "title": "t", "summary": "s", "claims_json": claims}


def mix(store: StateStore, run_id: str, writer: str, count: int) -> list[str]:
    """Make `count` writes of all kinds, some after a read in a transaction; return the ids of the items."""
    written = []
    for index in range(count):
        name = f"{writer}-{index}"
        kind = index % 5
        if kind == 0:
            store.upsert_intel_item(item(run_id, name))
        elif kind == 1:
            store.upsert_intel_items_batch(item(run_id, f"{name}-{part}") for part in range(3))
            written += [f"{name}-{part}" for part in range(3)]
            continue
        elif kind == 2:
            with store.transaction():
                rows = store.connection.execute("SELECT claims_json FROM intel_items WHERE item_id = 'sum'").fetchone()
                assert rows is not None
                store.upsert_intel_item(item(run_id, "sum", int(rows[0]) + 1))
                store.upsert_intel_item(item(run_id, name))
        elif kind == 3:
            store.start_run(f"run-{name}", "mixed", {"index": index})
            store.write_telemetry(f"run-{name}", {"index": index})
            store.finish_run(f"run-{name}", "completed")
            continue
        else:
            store.write_telemetry(run_id, {"writer": writer, "index": index})
            store.list_intel_items_for_run(f"run-{writer}-{index - 1}")
            continue
        written.append(name)
    return written


def mixed_writes(path: str, process: int, threads: int, count: int) -> list[str]:
    """Write from several threads once told to go."""
    with StateStore(path, synchronous="NORMAL") as store, ThreadPoolExecutor(threads) as pool:
        say()
        hear()
        parts = [pool.submit(mix, store, "run-1", f"{process}-{thread}", count) for thread in range(threads)]
        return [name for part in parts for name in part.result()]


def batches_beside_busy_threads(path: str, threads: int, count: int) -> int:
    """Write large batches while threads keep the interpreter busy; return how many were written."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    spinning = [threading.Thread(target=spin) for _ in range(threads)]
    with StateStore(path, busy_timeout=60) as store:
        batches = [[item("run-1", f"{batch}-{index}", [0.5] * 200) for index in range(3000)] for batch in range(count)]
        for each in spinning:
            each.start()
        sys.setswitchinterval(0.01)
        say()
        try:
            for batch in batches:
                store.upsert_intel_items_batch(batch)
        finally:
            sys.setswitchinterval(0.005)
            stop.set()
    for each in spinning:
        each.join()
    return count


def flip(path: str) -> int:
    """Give all items the same decision, and then another, each in one transaction, until told to end."""
    done = threading.Event()

    def wait() -> None:
        hear()
        done.set()

    with StateStore(path, synchronous="NORMAL") as store:
        items = [item("run-1", each["item_id"]) for each in store.list_intel_items_for_run("run-1")]
        threading.Thread(target=wait, daemon=True).start()
        for turn in itertools.count():
            changed = [{**each, "decision": f"{turn}"} for each in items]
            if turn % 2:
                store.upsert_intel_items_batch(changed)
            else:
                with store.transaction():
                    for each in changed:
                        store.upsert_intel_item(each)
            if turn == 0:
                say()
            if done.is_set():
                return turn
    raise AssertionError("unreachable")


BATCHES = 300
WRITERS = 3


def flip_batches(store: StateStore, writer: int, size: int, is_done: Callable[[], bool]) -> int:
    """Undo what was decided on the items of one batch, or decide it, until told to end; return how often.

    A batch has every so-manieth item of one of several writers, so that it reaches all through the file.
    """
    for turn in itertools.count():
        batch = random.randrange(BATCHES)
        names = [f"item-{(index * BATCHES + batch) * WRITERS + writer}" for index in range(size)]
        item = store.get_intel_item(names[0])
        assert item is not None
        store.decide_batch(dict.fromkeys(names, None if item["decision"] else "promote"))
        time.sleep(0.002)
        if is_done():
            return turn + 1
    raise AssertionError("unreachable")


def flip_batches_until_told(path: str, writer: int, size: int) -> int:
    """Do so as a process of its own."""
    done = threading.Event()

    def wait() -> None:
        hear()
        done.set()

    with StateStore(path, synchronous="NORMAL") as store:
        threading.Thread(target=wait, daemon=True).start()
        say()
        return flip_batches(store, writer, size, done.is_set)


def start_and_finish_runs(path: str) -> int:
    """Start runs and finish them until told to end; return how many."""
    done = threading.Event()

    def wait() -> None:
        hear()
        done.set()

    with StateStore(path, synchronous="NORMAL") as store:
        threading.Thread(target=wait, daemon=True).start()
        for number in itertools.count():
            store.start_run(f"process-{number}", "daily", {})
            store.finish_run(f"process-{number}", "completed")
            if number == 0:
                say()
            if done.is_set():
                return number + 1
    raise AssertionError("unreachable")


def watch(path: str, size: int) -> int:
    """List again and again until the test is done; return how many lists were torn or shrank."""
    torn = last = 0
    done = threading.Event()

    def wait() -> None:
        hear()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    with StateStore(path) as store:
        say()
        while not done.is_set():
            count = len(store.list_intel_items_for_run("run-1"))
            torn += count % size != 0 or count < last
            last = count
    return torn


def open_first(process: int) -> None:
    """Open each file that is named, at the same time as others, and write to it."""
    say()
    while path := hear():
        with StateStore(path, synchronous="NORMAL") as store:
            store.start_run(f"run-{process}", "race", {})
            store.upsert_intel_item(item(f"run-{process}", f"item-{process}"))
        say(path)


def recover(path: str) -> None:
    """Open a file that was not closed, and be killed."""
    say("opening")
    with StateStore(path):
        hear()


def count_up(path: str, count: int) -> None:
    """Read a number in a transaction and write the next, so many times."""
    with StateStore(path, synchronous="NORMAL") as store:
        say()
        hear()
        for _ in range(count):
            with store.transaction():
                row = store.connection.execute("SELECT claims_json FROM intel_items WHERE item_id = 'sum'").fetchone()
                assert row is not None
                store.upsert_intel_item(item("run-1", "sum", int(row[0]) + 1))


def write_until_killed(path: str, life: int) -> None:
    """Write from three threads for ever; say what was acknowledged. Batches and blocks have four items each."""
    store = StateStore(path)
    run_id = f"run-{life}"
    store.start_run(run_id, "crash", {})
    say(f"run {run_id}")

    def singles() -> None:
        for index in itertools.count():
            store.upsert_intel_item(item(run_id, f"{life}-single-{index}"))
            say(f"item {life}-single-{index}")

    def batches() -> None:
        for index in itertools.count():
            name = f"{life}-batch-{index}"
            store.upsert_intel_items_batch(item(run_id, f"{name}-{part}", name) for part in range(4))
            say(f"group {name}")

    def blocks() -> None:
        for index in itertools.count():
            name = f"{life}-block-{index}"
            with store.transaction():
                store.start_run(name, "block", {})
                for part in range(4):
                    store.upsert_intel_item(item(name, f"{name}-{part}", name))
                store.write_telemetry(name, {"parts": 4})
                store.finish_run(name, "completed")
            say(f"block {name}")

    for work in (singles, batches, blocks):
        threading.Thread(target=work, daemon=True).start()
    hear()
    os._exit(0)
