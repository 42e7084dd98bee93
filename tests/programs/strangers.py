"""A thread that ends inside a transaction, and the threads that come after it."""

import contextlib
import threading
from typing import Any

from orchestrator.state_store import StateStore, StoreBusyError

from tests.programs.exits import item


def after_a_thread_that_ended_inside(path: str) -> dict[str, Any]:
    """Let threads write after one that left a transaction open; say whether any of them joined it."""
    kept: list[object] = []
    identifiers: list[int] = []
    joined: list[int] = []
    with StateStore(path, busy_timeout=0.02) as store:
        store.start_run("run-1", "daily", {})

        def abandon() -> None:
            transaction = store.transaction()
            transaction.__enter__()
            kept.append(transaction)
            store.upsert_intel_item(item("abandoned"))
            identifiers.append(threading.get_ident())

        def stranger() -> None:
            identifiers.append(threading.get_ident())
            with contextlib.suppress(StoreBusyError):
                store.upsert_intel_item(item("stranger"))
                joined.append(threading.get_ident())

        for work in (abandon, *[stranger] * 20):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        kept.clear()
        store.upsert_intel_item(item("after"))
        items = [each["item_id"] for each in store.list_intel_items_for_run("run-1")]
    return {"joined": len(joined), "identifier used again": identifiers[0] in identifiers[1:], "items": items}
