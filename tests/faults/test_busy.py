"""A lock that is held elsewhere ends the wait at the timeout, in a typed error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreBusyError

from tests.helpers import Peer, in_threads, item_ids, make_item
from tests.programs import plain

TIMEOUT_HERE = 0.5


@pytest.mark.parametrize("act", ["upsert", "transaction", "finish_run"])
def test_lock_of_another_process_is_busy_at_the_timeout(
    run_path: Path, act: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    acts: dict[str, Callable[[StateStore], object]] = {
        "upsert": lambda store: store.upsert_intel_item(make_item()),
        "transaction": lambda store: store.transaction().__enter__(),
        "finish_run": lambda store: store.finish_run("run-1", "completed"),
    }
    with StateStore(run_path, busy_timeout=TIMEOUT_HERE) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        started = time.monotonic()
        with pytest.raises(StoreBusyError):
            acts[act](store)
        waited = time.monotonic() - started
        assert 0.8 * TIMEOUT_HERE <= waited < rounds(500, 120) / 100 * TIMEOUT_HERE
        assert item_ids(store) == []
        holder.tell()
        holder.result()
        acts["upsert"](store)
        assert item_ids(store) == ["item-1"]
    figure(f"busy after {waited / TIMEOUT_HERE:.0%} of the timeout")


def test_threads_that_queue_share_one_deadline_with_the_lock(run_path: Path) -> None:
    """Four writes one after the other would take four timeouts."""
    with StateStore(run_path, busy_timeout=1) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"

        def write() -> float:
            started = time.monotonic()
            with pytest.raises(StoreBusyError):
                store.upsert_intel_item(make_item())
            return time.monotonic() - started

        assert all(0.8 <= seconds < 2.5 for seconds in in_threads([write] * 4))


LONG = {
    "vacuum": lambda store: store.vacuum(),
    "vacuum, full": lambda store: store.vacuum(full=True),
    "recover_stale_runs": lambda store: store.recover_stale_runs(0),
    "checkpoint": lambda store: store.checkpoint(),
    "prune": lambda store: store.prune(keep_last=0),
}


@pytest.mark.parametrize("call", LONG)
def test_a_call_of_several_steps_waits_one_timeout(run_path: Path, call: str) -> None:
    """Each step had a timeout of its own."""
    with StateStore(run_path, busy_timeout=1.5) as store, Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        started = time.monotonic()
        with contextlib.suppress(StoreBusyError):
            LONG[call](store)
        assert 1.2 <= time.monotonic() - started < 2.6
