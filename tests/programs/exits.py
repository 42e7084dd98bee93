"""Programs that end without closing their store."""

import itertools
import resource
import threading
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.programs import say

KEEP: list[object] = []
"""What is still there when the interpreter ends."""
FIRST_TIMES = 30
"""How many uses of a store it takes until the allocator has what it keeps."""


def item(name: str) -> dict[str, str]:
    """Return an item."""
    return {"item_id": name, "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s"}


def leave(path: str, how: str) -> None:
    """Write, say what was acknowledged, and return in the middle of something."""
    store = StateStore(path)
    KEEP.append(store)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_item(item("first"))
    say("first")
    if how == "in a transaction":
        transaction = store.transaction()
        transaction.__enter__()
        KEEP.append(transaction)
        store.upsert_intel_item(item("not committed"))
    elif how == "while threads write":
        started = threading.Barrier(5)

        def write(writer: int) -> None:
            for index in itertools.count():
                store.upsert_intel_item(item(f"{writer}-{index}"))
                say(f"{writer}-{index}")
                if index == 10:
                    started.wait()

        for writer in range(4):
            threading.Thread(target=write, args=(writer,), daemon=True).start()
        started.wait()
    elif how == "sys.exit in a thread's block":

        def block() -> None:
            with store.transaction():
                store.upsert_intel_item(item("not committed"))
                raise SystemExit

        thread = threading.Thread(target=block)
        thread.start()
        thread.join()


def resident() -> int:
    """Return the bytes of memory that this process has. The peak would not do: it is inherited from the parent."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def close_again_and_again(path: str, times: int) -> int:
    """Open, write and read from threads, and close; return the bytes by which the process has grown after the first."""

    def use(store: StateStore, thread: int) -> None:
        store.upsert_intel_items_batch(item(f"{thread}-{index}") for index in range(50))
        store.list_intel_items_for_run("run-1")

    def once() -> None:
        with StateStore(path, synchronous="NORMAL") as store:
            threads = [threading.Thread(target=use, args=(store, thread)) for thread in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
    for _ in range(FIRST_TIMES):
        once()
    before = resident()
    for _ in range(times):
        once()
    return resident() - before
