"""Batches and lists of 10,000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import RUN, OpenContender
from benches.items import Item, make_items
from benches.timing import timed

pytestmark = pytest.mark.real_items

STAMP = "2024-01-01T00:00:00.000000+00:00"


@pytest.mark.benchmark(group=rows.BATCH_NEW)
def test_batch_of_new_items(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store = open_here(contender)
    timed(benchmark, store.upsert_batch, make_items(source, RUN))


@pytest.mark.benchmark(group=rows.BATCH_AGAIN)
def test_batch_of_the_same_items_again(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store = open_here(contender)
    store.upsert_batch(make_items(source, RUN))
    timed(benchmark, store.upsert_batch, make_items(source, RUN))


@pytest.mark.benchmark(group=rows.BATCH_AGAIN_SETTLED)
def test_batch_of_the_same_items_again_settled(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store = open_here(contender)
    store.upsert_batch(make_items(source, RUN))
    store.checkpoint()
    timed(benchmark, store.upsert_batch, make_items(source, RUN))


@pytest.mark.benchmark(group=rows.BATCH_CHANGED)
@pytest.mark.full_only
def test_batch_of_changed_items(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store = open_here(contender)
    store.upsert_batch(make_items(source, RUN))
    timed(benchmark, store.upsert_batch, make_items(source, RUN, revision=1))


def assert_listed(listed: Sequence[Mapping[str, Any]], items: list[Item]) -> None:
    assert [{**item, "created_at": STAMP} for item in listed] == [{**item, "created_at": STAMP} for item in items]


@pytest.mark.benchmark(group=rows.LIST_AT_ONCE)
def test_list_at_once(
    benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str
) -> None:
    store, items = open_here(contender), make_items(source, RUN)
    store.upsert_batch(items)
    assert_listed(timed(benchmark, store.list_run, RUN), items)


@pytest.mark.benchmark(group=rows.LIST)
@pytest.mark.joined_by(rows.DOCUMENT)
def test_list(benchmark: BenchmarkFixture, open_here: OpenContender, source: str, turn: int, contender: str) -> None:
    items = make_items(source, RUN)
    if contender == rows.DOCUMENT:
        listed = timed(benchmark, orjson.loads, orjson.dumps([{**item, "created_at": STAMP} for item in items]))
    else:
        store = open_here(contender)
        store.upsert_batch(items)
        store.checkpoint()
        listed = timed(benchmark, store.list_run, RUN)
    assert_listed(listed, items)
