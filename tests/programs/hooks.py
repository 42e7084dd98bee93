"""Fork hooks of the user's own, registered before the package is imported and after it."""

import gc
import os
import threading
from typing import Any

from tests.programs import say


def play(path: str) -> None:
    """Fork with hooks that write, read and drop stores; say what was acknowledged."""
    stores: list[Any] = []
    dropped: list[Any] = []

    def use(moment: str) -> None:
        for store in stores:
            try:
                store.upsert_intel_item(item(f"{moment}-{os.getpid()}"))
                store.list_intel_items_for_run("run-1")
                store.count_intel_items(item_type="note")
            except StateStoreError:
                continue
            say(f"{moment}-{os.getpid()}")
        if dropped:
            dropped.pop()
            gc.collect()

    def register(when: str) -> None:
        os.register_at_fork(
            before=lambda: use(f"{when}-before"),
            after_in_parent=lambda: use(f"{when}-in-parent"),
            after_in_child=lambda: use(f"{when}-in-child"),
        )

    register("early")

    from orchestrator.state_store import StateStore, StateStoreError

    register("late")

    from tests.programs.exits import item
    from tests.programs.forking import fork, many, write

    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    many(store)
    stores.append(store)
    for index in range(5):
        dropped.extend(StateStore(path) for _ in range(2))
        join = fork(lambda index=index: write(store, f"child-{index}", 5))  # type: ignore[misc]
        write(store, f"parent-{index}", 5)
        join()
    thread = threading.Thread(target=lambda: fork(lambda: write(store, "child-of-a-thread", 5))())
    thread.start()
    thread.join()
    write(store, "parent", 5)
