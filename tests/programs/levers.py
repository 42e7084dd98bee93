"""Programs that are watched by strace; what they say are marks in its log."""

import threading
from collections.abc import Callable
from typing import Any, Literal

from orchestrator.state_store import StateStore

from tests.programs import say
from tests.programs.exits import item

BATCH = 10_000
CALLS = 6_000
THREADS, EACH = 8, 25
TEXT = "The package lets an attacker do what only its owner may. " * 15


def items(count: int, prefix: str = "item") -> list[dict[str, Any]]:
    """Return items of about a kilobyte, no two alike."""
    return [{**item(f"{prefix}-{number}"), "summary": f"{number} {TEXT}"} for number in range(count)]


def opened(path: str, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> StateStore:
    """Open a store with the run in it."""
    store = StateStore(path, synchronous=synchronous)
    store.start_run("run-1", "daily", {})
    return store


def write_in_every_way(path: str) -> None:
    """Call everything that writes, with a mark before and one after."""
    with opened(path) as store:

        def transaction() -> None:
            with store.transaction():
                store.upsert_intel_item(item("inside"))

        calls: dict[str, Callable[[], object]] = {
            "start_run": lambda: store.start_run("run-2", "daily", {}),
            "upsert_intel_item": lambda: store.upsert_intel_item(item("single")),
            "small batch": lambda: store.upsert_intel_items_batch(items(10, "small")),
            "large batch": lambda: store.upsert_intel_items_batch(items(2_000, "large")),
            "write_telemetry": lambda: store.write_telemetry("run-1", {}),
            "transaction": transaction,
            "finish_run": lambda: store.finish_run("run-1", "completed"),
        }
        for name, call in calls.items():
            say(f"call {name}")
            call()
            say(f"return {name}")


def write_in_threads(path: str) -> None:
    """Upsert items one by one in some threads at once, with a mark before and one after each."""
    with opened(path) as store:
        together = threading.Barrier(THREADS)

        def write(thread: int) -> None:
            together.wait()
            for number in range(EACH):
                say(f"call {thread}-{number}")
                store.upsert_intel_item(item(f"{thread}-{number}"))
                say(f"return {thread}-{number}")

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def write_much(path: str) -> None:
    """Write so many single items that the log is checkpointed some times."""
    with opened(path, "NORMAL") as store:
        say("begin")
        for each in items(CALLS):
            store.upsert_intel_item(each)
        say("end")


def write_a_batch(path: str) -> None:
    """Write a large batch of new items, then the same again, for a run that is over and gives no sign of life."""
    batch = items(BATCH)
    with opened(path) as store:
        say("call new")
        store.upsert_intel_items_batch(batch)
        say("return new")
        store.finish_run("run-1", "completed")
        say("call again")
        store.upsert_intel_items_batch(batch)
        say("return again")


def write_a_batch_and_commit_later(path: str) -> None:
    """Write a large batch inside a transaction."""
    batch = items(BATCH)
    with opened(path) as store:
        with store.transaction():
            say("call batch")
            store.upsert_intel_items_batch(batch)
            say("return batch")
            say("call commit")
        say("return commit")
