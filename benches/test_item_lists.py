"""Items, found among 1,000,000: one, a page of each filter, counts, and those of a run that a condition holds for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.rivals import OURS
from benches.test_run_lists import slowest
from benches.timing import timed

pytestmark = pytest.mark.full_only
ours = pytest.mark.contenders(OURS)

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"run_id": "run-50"},
    {"item_type": "release"},
    {"item_type": "unknown"},
    {"decision": "monitor"},
    {"decision": "unknown"},
    {"undecided": True},
    {"undecided": False},
    {"item_type": "note", "decision": "monitor"},
    {"item_type": "note", "undecided": True},
    {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"},
    {"since": "2100-01-01T00:00:00Z"},
)

COUNTED: tuple[dict[str, Any], ...] = (
    {},
    {"item_type": "release"},
    {"decision": "monitor"},
    {"undecided": True},
    {"undecided": False},
    {"since": "2000-01-01T00:00:00Z"},
    {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"},
)
"""What one index finds, and much of it."""


@pytest.fixture(scope="module")
def store(large_file: Path) -> Iterator[StateStore]:
    with StateStore(large_file) as store:
        yield store


@ours
@pytest.mark.benchmark(group=rows.GET_ITEM)
def test_get_intel_item(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    names = [item["item_id"] for item in store.list_intel_items(run_id=f"run-{turn * 10}", fields=["item_id"])][::10]
    benchmark.extra_info["calls"] = len(names)
    timed(benchmark, lambda: [store.get_intel_item(name) for name in names])


@ours
@pytest.mark.benchmark(group=rows.LIST_ITEMS)
def test_list(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    choice = slowest(store.list_intel_items, [{"limit": 50, **each} for each in FILTERS])
    timed(benchmark, store.list_intel_items, **choice)


@ours
@pytest.mark.benchmark(group=rows.COUNT_ITEMS)
def test_count(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    middle = store.list_intel_items(run_id="run-50", limit=1)[0]["created_at"]
    choice = slowest(store.count_intel_items, [*COUNTED, {"until": middle}])
    assert timed(benchmark, store.count_intel_items, **choice) >= 300_000


@ours
@pytest.mark.benchmark(group=rows.COUNT_ITEMS_OF_RUN)
def test_count_of_a_run(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    assert timed(benchmark, store.count_intel_items, run_id=f"run-{turn}") == 10_000


@pytest.mark.contenders(OURS, rows.UNFILTERED)
@pytest.mark.benchmark(group=rows.LIST_WHERE)
def test_where(benchmark: BenchmarkFixture, store: StateStore, source: str, turn: int, contender: str) -> None:
    where = {"scores_json.total": (">", 80)} if contender == OURS else None
    assert timed(benchmark, lambda: store.list_intel_items(run_id=f"run-{60 + turn}", where=where))
