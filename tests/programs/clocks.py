"""A program whose clock is set, as `tests/faults/preload.c` can: what it then lists, keeps, recovers and deletes."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.state_store import ClockError, RunRecord, StateStore

from tests.programs.exits import item

OLDER_THAN = timedelta(minutes=10)


def tell(fault: str) -> None:
    """Switch a fault on, or all off."""
    switch = Path(os.environ["FAULT_SWITCH"])
    new = switch.with_suffix(".new")
    new.write_text(fault)
    new.replace(switch)


def jump(seconds: float) -> None:
    """Set the clock so many seconds ahead of the right time."""
    tell(f"time {seconds}")


def refused(call: Callable[[], object]) -> str | None:
    """Return what a call that is not to trust the clock says of it."""
    try:
        call()
    except ClockError as error:
        return str(error)
    return None


def ids(runs: list[RunRecord]) -> list[str]:
    return [run.run_id for run in runs]


def finished(store: StateStore, run_id: str) -> None:
    """Record a run with an item of its own, and one of the long run, and finish it."""
    store.start_run(run_id, "daily", {})
    store.upsert_intel_items_batch([item(f"{run_id}-own") | {"run_id": run_id}, item(run_id) | {"run_id": "long"}])
    store.finish_run(run_id, "completed")


def step(path: str, seconds: float) -> dict[str, Any]:
    """Set the clock by so much, record, set it right again, and record."""
    seen: dict[str, Any] = {}
    with StateStore(path) as store:
        store.start_run("long", "long", {})
        store.start_run("silent", "dead", {})
        store.start_run("dead", "dead", {})
        finished(store, "before")
        pages = store.list_intel_items(run_id="long", limit=1)
        jump(seconds)
        store.start_run("live", "live", {})
        finished(store, "stepped")
        store.heartbeat("dead")
        seen["wild"] = [
            refused(lambda: store.prune(older_than=timedelta(days=90))),
            refused(lambda: store.recover_stale_runs(timedelta(days=1))),
        ]
        seen["kept while wild"] = store.count_runs()
        jump(0)
        finished(store, "after")
        seen["runs"] = ids(store.list_runs(run_type="daily"))
        seen["since"] = ids(store.list_runs(run_type="daily", since="2001-01-01T00:00:00Z"))
        seen["items"] = [each["item_id"] for each in store.list_intel_items_for_run("long")]
        seen["iterated"] = [each["item_id"] for each in store.iter_intel_items(run_id="long", order="newest")]
        more = store.list_intel_items(run_id="long", limit=9, cursor=pages.next_cursor or finished_cursor(store))
        seen["next page"] = [each["item_id"] for each in more]
        store.upsert_intel_item(item("sign") | {"run_id": "live"})
        seen["recovered at once"] = ids(store.recover_stale_runs(OLDER_THAN))
        seen["pruned"] = store.prune(older_than=timedelta(days=1)).runs
        jump(660)
        for run_id in ("live", "long"):
            store.upsert_intel_item(item(f"sign-{run_id}") | {"run_id": run_id})
        seen["recovered later"] = ids(store.recover_stale_runs(OLDER_THAN))
        jump(0)
        store.prune(keep_last=1, run_type="daily")
        seen["kept"] = ids(store.list_runs(run_type="daily"))
    return seen


def finished_cursor(store: StateStore) -> str:
    """Return the cursor behind the first item of the long run."""
    cursor = store.list_intel_items(run_id="long", limit=1).next_cursor
    assert cursor is not None
    return cursor


def idle(path: str, fault: str, seconds: float, opened: str) -> list[str | None]:
    """Leave a file idle for so long, or keep a store open on it; what prune and recovery say of the clock then."""
    with StateStore(path) as store:
        store.start_run("dead", "daily", {})
        store.start_run("old", "daily", {})
        store.finish_run("old", "completed")
        if opened == "before":
            tell(f"{fault} {int(seconds)}")
            return both(store)
    tell(f"{fault} {int(seconds)}")
    with StateStore(path) as store:
        return both(store)


def both(store: StateStore) -> list[str | None]:
    """Return what prune and recovery say of the clock, and what they do where they are told to trust it."""
    done = [
        refused(lambda: store.prune(older_than=60, dry_run=True)),
        refused(lambda: store.prune(older_than=60)),
        refused(lambda: store.recover_stale_runs(60)),
    ]
    store.prune(older_than=60, trust_clock=True)
    store.recover_stale_runs(60, trust_clock=True)
    assert [(run.run_id, run.status) for run in store.list_runs()] == [("dead", "crashed")]
    return done


def long_ago(path: str) -> list[Any]:
    """Use a store while the clock is before 1970."""
    tell("time -2000000000")
    with StateStore(path) as store, store.run("run-1", "daily", {}):
        store.upsert_intel_item(item("a") | {"run_id": "run-1"})
        store.recover_stale_runs(60)
        store.prune(older_than=60)
        return [store.list_intel_items()[0]["created_at"], store.check()]
