"""Programs that open a store without the right to write."""

import gc
import itertools
import logging
import os
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError, copy_store

from tests.programs import hear, say

NOBODY = 65534


def look(store: StateStore, run_id: str) -> dict[str, Any]:
    """Return a run's items and status."""
    items = [item["item_id"] for item in store.list_intel_items_for_run(run_id)]
    status = store.connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    return {"items": items, "status": status and status[0]}


def become_nobody() -> None:
    """Give up all privileges."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def read_as_nobody(path: str, run_id: str, options: dict[str, Any]) -> dict[str, Any]:
    """List a run's items without any privilege; say which file could be written all the same."""
    # Python itself may be in a folder that only its owner reads: what is imported when first used is imported here.
    with StateStore(":memory:") as store:
        look(store, run_id)
    become_nobody()
    writable = os.access(path, os.W_OK) or os.access(Path(path).parent, os.W_OK)
    try:
        with StateStore(path, **options) as store:
            return {"writable": writable, **look(store, run_id)}
    except StateStoreError as error:
        return {"writable": writable, "error": type(error).__name__, "message": str(error)}


def copy_as_nobody(path: str, folder: str) -> dict[str, Any]:
    """Back a store up, and copy it, without any privilege; do so again while the file's time changes."""
    with StateStore(":memory:") as store:
        look(store, "")
    warm = Path(folder) / "warm.db"
    StateStore(warm).close()
    copy_store(warm, Path(folder) / "warm-copy.db")
    become_nobody()
    backup, copied = Path(folder) / "backup.db", Path(folder) / "copied.db"
    times, errors = itertools.count(1), []

    def change(*_: object) -> None:
        os.utime(path, ns=(0, next(times)))

    with StateStore(path, read_only=True) as store:
        store.backup(backup)
        copy_store(path, copied)
        for act in (
            lambda: store.backup(Path(folder) / "late.db", progress=change),
            lambda: copy_store(path, Path(folder) / "late-copy.db", progress=change),
        ):
            try:
                act()
            except StateStoreError as error:
                errors.append(type(error).__name__)
    found: dict[str, Any] = {"errors": errors, "late": (Path(folder) / "late.db").exists()}
    for each in (backup, copied):
        with StateStore(each, read_only=True) as store:
            found[each.name] = look(store, "run-1")
    return found


def list_while_the_file_changes(path: str, run_id: str) -> list[int]:
    """List a run's items, the file's time changing meanwhile, until a list was begun anew; return how long each was."""
    times, lengths = itertools.count(1), []
    statements: list[str] = []
    is_due = False

    def change(_phase: str, _info: object) -> None:
        nonlocal is_due
        if is_due:
            is_due = False
            os.utime(path, ns=(0, next(times)))

    def take_down(record: logging.LogRecord) -> bool:
        statements.append(vars(record)["sql"])
        return False

    logger = logging.getLogger("orchestrator.state_store")
    logger.setLevel(logging.DEBUG)
    logger.addFilter(take_down)
    with StateStore(":memory:") as store:
        look(store, run_id)
    become_nobody()
    gc.callbacks.append(change)
    with StateStore(path, read_only=True, trace_sql=True) as store:
        while sum("FROM store_identity" in sql for sql in statements) < 2:
            statements.clear()
            is_due = True
            lengths.append(len(store.list_intel_items_for_run(run_id)))
    return lengths


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
