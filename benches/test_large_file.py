"""Batches and lists in a file of 1,000,000 items, against those in a new one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import LARGE_RUNS
from benches.items import make_items
from benches.rivals import OURS
from benches.timing import timed

pytestmark = [pytest.mark.full_only, pytest.mark.contenders(OURS, rows.EMPTY_FILE)]


@pytest.fixture
def path(large_file: Path, folder: Path, contender: str) -> Path:
    """Return the file to use."""
    return large_file if contender == OURS else folder / "bench.db"


@pytest.mark.benchmark(group=rows.LARGE_BATCH)
def test_batch(benchmark: BenchmarkFixture, path: Path, source: str, turn: int, contender: str) -> None:
    run_id = f"turn-{turn}"
    with closing(StateStore(path)) as store:
        store.start_run(run_id, "bench", {})
        timed(benchmark, store.upsert_intel_items_batch, make_items(source, run_id))


@pytest.mark.benchmark(group=rows.LARGE_LIST)
def test_list(benchmark: BenchmarkFixture, path: Path, source: str, turn: int, contender: str) -> None:
    run_id = f"run-{LARGE_RUNS // 2 + turn}"
    with closing(StateStore(path)) as store:
        if contender == rows.EMPTY_FILE:
            store.start_run(run_id, "bench", {})
            store.upsert_intel_items_batch(make_items(source, run_id))
            store.checkpoint()
        assert len(timed(benchmark, store.list_intel_items_for_run, run_id)) == len(make_items(source, run_id))
