"""Programs that open a store without the right to write."""

import os
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say

NOBODY = 65534


def look(store: StateStore, run_id: str) -> dict[str, Any]:
    """Return a run's items and status."""
    items = [item["item_id"] for item in store.list_intel_items_for_run(run_id)]
    status = store.connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return {"items": items, "status": status and status[0]}


def read_as_nobody(path: str, run_id: str, options: dict[str, Any]) -> dict[str, Any]:
    """List a run's items without any privilege; say which file could be written all the same."""
    # Python itself may be in a folder that only its owner reads: what is imported when first used is imported here.
    with StateStore(":memory:") as store:
        look(store, run_id)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    writable = os.access(path, os.W_OK) or os.access(Path(path).parent, os.W_OK)
    try:
        with StateStore(path, **options) as store:
            return {"writable": writable, **look(store, run_id)}
    except StateStoreError as error:
        return {"writable": writable, "error": type(error).__name__, "message": str(error)}


def write_and_die(path: str, run_id: str, count: int) -> None:
    """Write items and wait to be killed, so that the -wal with them stays."""
    store = StateStore(path)
    store.start_run(run_id, "daily", {})
    for index in range(count):
        store.upsert_intel_item(
            {"item_id": f"{run_id}-{index}", "run_id": run_id, "item_type": "note", "title": "t", "summary": "s"}
        )
    say("written")
    hear()
