"""How long another Python thread is kept waiting while much is written or read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import RUN, OpenContender
from benches.items import make_items
from benches.timing import timed
from benches.watcher import Watcher

pytestmark = pytest.mark.turns(3, 5)

COUNT = 60_000


def stall(benchmark: BenchmarkFixture, row: str, work: Callable[[], object]) -> None:
    """Record the longest stall while `work` is done; the freeing of what it returns is left out."""
    watcher = Watcher()

    def watched() -> object:
        result = work()
        watcher.stop()
        return result

    timed(benchmark, watched)
    benchmark.extra_info["values"] = {row: watcher.longest}


@pytest.mark.benchmark(group=rows.STALL_BATCH)
def test_stall_while_a_batch_is_written(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store, items = open_here(contender), make_items(source, RUN, COUNT)
    stall(benchmark, rows.STALL_BATCH, lambda: store.upsert_batch(items))


@pytest.mark.benchmark(group=rows.STALL_LIST)
def test_stall_while_a_run_is_listed(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store = open_here(contender)
    store.upsert_batch(make_items(source, RUN, COUNT))
    stall(benchmark, rows.STALL_LIST, lambda: store.list_run(RUN))
