"""What an operator asks for, in a file of 30,000 runs and 1,000,000 items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.rivals import OURS
from benches.timing import timed

pytestmark = pytest.mark.full_only

LOOK_UPS: tuple[Callable[[StateStore, str], object], ...] = (
    lambda store, middle: store.get_run("run-15000"),
    lambda store, middle: store.get_intel_item(middle),
    lambda store, middle: store.list_runs(limit=50),
    lambda store, middle: store.list_runs(run_type="rare", limit=50),
    lambda store, middle: store.list_runs(status="running", limit=50),
    lambda store, middle: store.list_runs(status=("failed", "running"), limit=50),
    lambda store, middle: store.list_runs(run_type="type-3", status="failed", limit=50),
    lambda store, middle: store.list_runs(since="2020-01-01T00:00Z", until="2100-01-01T00:00Z", limit=50),
    lambda store, middle: store.list_intel_items(limit=50),
    lambda store, middle: store.list_intel_items(item_type="release", limit=50),
    lambda store, middle: store.list_intel_items(undecided=True, limit=50),
)
COUNTS: tuple[Callable[[StateStore, str], object], ...] = (
    lambda store, middle: store.count_runs(),
    lambda store, middle: store.count_runs(status="completed"),
    lambda store, middle: store.count_intel_items(),
    lambda store, middle: store.count_intel_items(run_id="run-50"),
)
QUESTIONS = dict(zip((*rows.LOOK_UPS, *rows.COUNTS), (*LOOK_UPS, *COUNTS), strict=True))


@pytest.fixture(scope="module")
def store(large_file: Path) -> Iterator[StateStore]:
    with StateStore(large_file) as store:
        yield store


@pytest.mark.contenders(OURS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_look_up(
    benchmark: BenchmarkFixture, store: StateStore, question: str, source: str, turn: int, contender: str
) -> None:
    benchmark.group = question
    middle = store.list_intel_items_for_run("run-50")[5_000]["item_id"]
    ask = QUESTIONS[question]
    ask(store, middle)
    assert timed(benchmark, ask, store, middle)


@pytest.mark.contenders(OURS, rows.UNFILTERED)
@pytest.mark.benchmark(group=rows.LIST_WHERE)
def test_where(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    where = {"scores_json.total": (">", 80)} if contender == OURS else None
    assert timed(benchmark, lambda: store.list_intel_items(run_id="run-60", where=where))
