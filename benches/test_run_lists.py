"""Runs, found among 30,000: one, a page of each filter, counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.files import FILES, RUNS, add_runs
from benches.rivals import OURS
from benches.timing import timed

pytestmark = pytest.mark.contenders(OURS)


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """Make the file once."""
    FILES.mkdir(exist_ok=True)
    path = FILES / "bench-runs.db"
    with StateStore(path, synchronous="NORMAL") as store:
        add_runs(store)
    yield path
    path.unlink()


@pytest.fixture
def store(file: Path) -> Iterator[StateStore]:
    with closing(StateStore(file)) as store:
        yield store


def filters(store: StateStore) -> list[dict[str, Any]]:
    """Return every filter, alone and with others."""
    middle = store.list_runs(limit=RUNS // 2)[-1].started_at
    kinds: list[dict[str, Any]] = [
        {"run_type": run_type, "status": status}
        for run_type in (None, "type-1", "rare", "unknown")
        for status in (None, "completed", "running", "unknown", ["running", "failed"], ["completed", "failed"])
    ]
    times: list[dict[str, Any]] = [
        {},
        {"since": middle},
        {"until": middle},
        {"since": "2000-01-01T00:00:00Z", "until": middle},
    ]
    return [{**kind, **time} for kind in kinds for time in times]


def slowest(call: Callable[..., object], choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments with which a call takes longest, each tried a few times."""

    def seconds(choice: dict[str, Any]) -> float:
        begin = perf_counter()
        call(**choice)
        return perf_counter() - begin

    return max(choices, key=lambda choice: min(seconds(choice) for _ in range(3)))


@pytest.mark.benchmark(group=rows.GET_RUN)
def test_get_run(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    names = [f"run-{number}" for number in random.Random(turn).sample(range(RUNS), 1_000)]
    benchmark.extra_info["calls"] = len(names)
    timed(benchmark, lambda: [store.get_run(name) for name in names])


@pytest.mark.benchmark(group=rows.LIST_RUNS)
def test_list_runs(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    choice = slowest(store.list_runs, [{"limit": 50, **each} for each in filters(store)])
    timed(benchmark, store.list_runs, **choice)


@pytest.mark.benchmark(group=rows.COUNT_RUNS)
def test_count_runs(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    choice = slowest(store.count_runs, filters(store))
    timed(benchmark, store.count_runs, **choice)
