"""Single upserts: once the log is being reused, and in a new file, where writes make it longer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import RUN, OpenContender
from benches.items import Item, make_items
from benches.rivals import Contender
from benches.timing import timed

WARM_UP = 3_500
"""Upserts, some 70 MB of log: each contender has checkpointed it by then, and writes it from its start again."""

THREADS, EACH = 8, 50


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def upsert_each(store: Contender, items: list[Item]) -> None:
    """Upsert items one by one."""
    for item in items:
        store.upsert(item)


def warm(store: Contender, source: str) -> None:
    """Get the log to where it is reused."""
    upsert_each(store, make_items(source, RUN, WARM_UP))


def singles(benchmark: BenchmarkFixture, store: Contender, source: str, count: int) -> None:
    """Time `count` upserts of new items."""
    warm(store, source)
    benchmark.extra_info["calls"] = count
    timed(benchmark, upsert_each, store, make_items(source, RUN, count, first=WARM_UP))


@pytest.mark.benchmark(group=rows.SINGLE_FULL)
def test_single_full(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    singles(benchmark, open_here(contender, "FULL"), source, 1_000)


@pytest.mark.benchmark(group=rows.SINGLE_NORMAL)
def test_single_normal(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    singles(benchmark, open_here(contender, "NORMAL"), source, 3_000)


@pytest.mark.benchmark(group=rows.SINGLE_NEW_FILE)
def test_single_in_a_new_file(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store, items = open_here(contender, "FULL"), make_items(source, RUN, 500)
    benchmark.extra_info["calls"] = len(items)
    timed(benchmark, upsert_each, store, items)


@pytest.mark.benchmark(group=rows.THREADS)
def test_threads_of_singles(
    benchmark: BenchmarkFixture,
    open_here: OpenContender,
    pool: ThreadPoolExecutor,
    source: str,
    turn: int,
    contender: str,
) -> None:
    store = open_here(contender)
    warm(store, source)
    shares = [make_items(source, RUN, EACH, first=WARM_UP + EACH * share) for share in range(THREADS)]
    met = threading.Barrier(THREADS)

    def get_ready(share: list[Item]) -> None:
        met.wait()
        store.list_run("none")
        met.wait()

    def write_all() -> None:
        for done in [pool.submit(upsert_each, store, share) for share in shares]:
            done.result()

    list(pool.map(get_ready, shares))
    timed(benchmark, write_all)
