"""Two stores on one file, in one thread: who waits for itself is told at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreBusyError

from tests.helpers import in_thread, item_ids, make_item, put

WHOLE = 30.0
"""What the second store would wait."""

CALLS: dict[str, Callable[[StateStore], object]] = {
    "an item": lambda store: store.upsert_intel_item(make_item("second")),
    "a batch": lambda store: store.upsert_intel_items_batch([make_item("second")]),
    "a large batch": lambda store: store.upsert_intel_items_batch(make_item(f"{n}") for n in range(2_000)),
    "a transaction": lambda store: store.transaction().__enter__(),
    "recovery": lambda store: store.recover_stale_runs(0),
    "deletion": lambda store: store.delete_run("run-1", force=True),
    "a vacuum": lambda store: store.vacuum(),
    "a whole vacuum": lambda store: store.vacuum(full=True),
    "a checkpoint": lambda store: store.checkpoint(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_thread_does_not_wait_for_itself(run_path: Path, call: str) -> None:
    with StateStore(run_path, busy_timeout=WHOLE) as first, StateStore(run_path, busy_timeout=WHOLE) as second:
        with first.transaction():
            put(first, "first")
            started = time.monotonic()
            with pytest.raises(StoreBusyError, match="this thread already holds the file, by a transaction of another"):
                CALLS[call](second)
            assert time.monotonic() - started < WHOLE / 2
            assert second.count_intel_items() == 0
        put(second, "after")
        assert item_ids(second) == ["first", "after"]


def test_another_thread_waits_as_ever(run_path: Path) -> None:
    with StateStore(run_path) as first, StateStore(run_path, busy_timeout=0.2) as second, first.transaction():
        put(first, "first")
        with pytest.raises(StoreBusyError, match="still busy after busy_timeout"):
            in_thread(lambda: put(second, "second"))


def test_a_child_waits_for_its_parent(run_path: Path) -> None:
    """It holds nothing, though it goes on as the thread that does."""
    with StateStore(run_path) as first:
        with first.transaction():
            put(first, "first")
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    with StateStore(run_path, busy_timeout=0.2) as second:
                        put(second, "second")
                except StoreBusyError as error:
                    code = 0 if "still busy" in str(error) else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert item_ids(first) == ["first"]
