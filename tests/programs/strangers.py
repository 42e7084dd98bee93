"""A thread that ends inside a transaction, and the threads that come after it."""

import contextlib
import threading
from typing import Any

from orchestrator.state_store import StateStore, StoreBusyError

from tests.programs.exits import item


def after_threads_that_ended_inside(path: str, rounds: int) -> dict[str, Any]:
    """Let threads write after one that left a transaction open; say how often one of them joined it."""
    kept: list[object] = []
    again = joined = 0
    with StateStore(path, synchronous="NORMAL", busy_timeout=0.005) as store:
        store.start_run("run-1", "daily", {})

        def abandon() -> None:
            transaction = store.transaction()
            transaction.__enter__()
            kept.extend([transaction, threading.get_ident()])
            store.upsert_intel_item(item("abandoned"))

        def stranger() -> None:
            nonlocal again, joined
            again += threading.get_ident() in kept
            with contextlib.suppress(StoreBusyError):
                store.upsert_intel_item(item("stranger"))
                joined += 1

        def reader() -> None:
            nonlocal joined
            with contextlib.suppress(StoreBusyError):
                joined += len(store.list_intel_items_for_run("run-1"))

        for round_ in range(rounds):
            for work in (abandon, *([reader] * (round_ % 3)), stranger, reader, stranger, stranger):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            kept.clear()
        store.upsert_intel_item(item("after"))
        items = [each["item_id"] for each in store.list_intel_items_for_run("run-1")]
    return {"joined": joined, "identifier used again": again > 0, "items": items}
