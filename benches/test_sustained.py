"""Batches and singles, one after the other, for as long as it takes for everything put off to come due."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import RUN, OpenContender
from benches.items import Item, make_items
from benches.rivals import APSW, OURS, Contender
from benches.timing import timed

T = TypeVar("T")

SINGLES = 50
IDS = 100_000
"""After so many items the same come again, changed, so that the file stays of one size."""

SECONDS, SECONDS_IN_FULL = 10.0, 60.0


@dataclass
class Outcome:
    """What came of it."""

    items: int = 0
    longest: float = 0.0
    log_bytes: int = 0

    def note(self, log: Path, call: Callable[[T], object], value: T) -> None:
        """Do a call and note how long it took, and how large the log is after it."""
        start = time.perf_counter()
        call(value)
        self.longest = max(self.longest, time.perf_counter() - start)
        self.log_bytes = max(self.log_bytes, log.stat().st_size)


def slices(source: str) -> Iterator[list[Item]]:
    """Yield items for a batch and the singles after it, for ever."""
    first, revision, count = 0, 0, rows.SUSTAINED_BATCH + SINGLES
    while True:
        yield make_items(source, RUN, count, first=first, revision=revision)
        first += count
        if first >= IDS:
            first, revision = 0, revision + 1


def sustain(store: Contender, source: str, log: Path, seconds: float) -> Outcome:
    """Write for so long."""
    outcome, end = Outcome(), time.perf_counter() + seconds
    for items in slices(source):
        batch, singles = items[: rows.SUSTAINED_BATCH], items[rows.SUSTAINED_BATCH :]
        outcome.note(log, store.upsert_batch, batch)
        for item in singles:
            outcome.note(log, store.upsert, item)
        outcome.items += len(items)
        if time.perf_counter() >= end:
            return outcome
    raise AssertionError("there is always another slice")


@pytest.mark.benchmark(group=rows.SUSTAINED)
@pytest.mark.turns(1, 1)
@pytest.mark.contenders(OURS, APSW)
def test_sustained(
    benchmark: BenchmarkFixture,
    pytestconfig: pytest.Config,
    open_here: OpenContender,
    folder: Path,
    source: str,
    turn: int,
    contender: str,
) -> None:
    seconds = SECONDS_IN_FULL if pytestconfig.getoption("--full") else SECONDS
    store = open_here(contender)
    start = time.perf_counter()
    outcome = timed(benchmark, sustain, store, source, folder / "bench.db-wal", seconds)
    benchmark.extra_info["values"] = {
        rows.SUSTAINED: (time.perf_counter() - start) / outcome.items,
        rows.SUSTAINED_CALL: outcome.longest,
        rows.SUSTAINED_LOG: outcome.log_bytes,
    }
