"""Pruning half of a file of 1,000,000 items while another thread writes, and giving back the space."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import LARGE_RUNS
from benches.items import MADE_UP, make_items
from benches.rivals import OURS
from benches.timing import timed

pytestmark = [pytest.mark.full_only, pytest.mark.contenders(OURS), pytest.mark.turns(1, 3)]


def test_prune_beside_a_writer(
    benchmark: BenchmarkFixture, large_file: Path, folder: Path, source: str, turn: int, contender: str
) -> None:
    benchmark.group = rows.PRUNE
    path = folder / "pruned.db"
    shutil.copy(large_file, path)
    os.sync()  # Or the writer's syncs would wait for the copy to reach the disk.
    with StateStore(path) as store:
        store.start_run("writer", "bench", {})
        items, waits, over = make_items(MADE_UP, "writer"), [0.0], threading.Event()

        def write() -> None:
            while not over.is_set():
                # None comes again: what is unchanged is not written.
                item = {**items[len(waits) % len(items)], "item_id": f"writer-{len(waits)}"}
                start = time.perf_counter()
                store.upsert_intel_item(item)
                waits.append(time.perf_counter() - start)

        writer = threading.Thread(target=write)
        writer.start()
        start = time.perf_counter()
        pruned = timed(benchmark, store.prune, keep_last=LARGE_RUNS // 2)
        seconds = time.perf_counter() - start
        over.set()
        writer.join()
        start = time.perf_counter()
        freed = store.vacuum().bytes_freed
        vacuum = time.perf_counter() - start
    assert pruned.intel_items == 500_000
    assert freed > 400_000_000
    benchmark.extra_info["values"] = {
        rows.PRUNE: seconds / pruned.intel_items,
        rows.PRUNE_WAIT: max(waits),
        rows.VACUUM: vacuum / (freed / 1e6),
    }
