"""Counts of many items: each is how many a list has, and of one moment, whoever else reads and writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestrator.state_store import StateStore

from tests.conformance.conftest import Engine
from tests.helpers import JSON_FIELDS, Peer, in_threads, make_item
from tests.programs import writers
from tests.programs.writers import BATCHES, WRITERS

COUNT = 54_000
PER_BATCH = COUNT // BATCHES // WRITERS

FILTERS: list[dict[str, Any]] = [
    {},
    {"item_type": "note"},
    {"decision": "promote"},
    {"undecided": True},
    {"undecided": False},
    {"item_type": "note", "undecided": False},
    {"run_id": "run-1"},
]
TIMES: list[dict[str, Any]] = [
    {"since": "2026-01-01T00:00:00Z"},
    {"since": "2026-01-01T01:00:00Z", "until": "2026-01-01T15:00:00Z"},
    {"since": "2026-01-01T05:00:00Z", "until": "2027-01-01T00:00:00Z"},
    {"since": "2026-01-01T15:00:00Z", "until": "2026-01-01T01:00:00Z"},
]
DECIDED: list[dict[str, Any]] = [
    {**kind, **times}
    for kind in ({"decision": "promote"}, {"undecided": True}, {"undecided": False})
    for times in ({}, TIMES[0])
]
"""Counts that are the sums of several, one for each type."""


def made(number: int) -> dict[str, Any]:
    return {
        **make_item(f"item-{number}", item_type="note" if number // (BATCHES * WRITERS) % 3 else "paper"),
        **dict.fromkeys(JSON_FIELDS, "[]"),
        "decision": "promote" if number // WRITERS % 2 else None,
        "created_at": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).isoformat(),
    }


@pytest.fixture(scope="module")
def large(new_lasting: Callable[[], Engine]) -> Engine:
    """Make an item a second. A batch is all through them, of two types and one decision."""
    engine = new_lasting()
    with engine.open() as store:
        store.start_run("run-1", "daily", {})
    engine.add("intel_items", [made(number) for number in range(COUNT)])
    return engine


@pytest.fixture(params=[1, 4])
def store(large: Engine, request: pytest.FixtureRequest) -> Iterator[StateStore]:
    with large.open(pool_size=request.param, **large.quick) as store:
        yield store


@pytest.mark.parametrize("filters", [*FILTERS, *TIMES], ids=str)
def test_count_is_how_many_a_list_has(store: StateStore, filters: dict[str, Any]) -> None:
    count = len(store.list_intel_items(fields=["item_id"], **filters))
    assert store.count_intel_items(**filters) == count
    assert in_threads([lambda: store.count_intel_items(**filters)] * 4) == [count] * 4
    with store.transaction():
        assert store.count_intel_items(**filters) == count


def test_count_is_one_moment_while_threads_and_another_process_write(large: Engine) -> None:
    done = threading.Event()
    with (
        large.open(**large.quick) as store,
        ThreadPoolExecutor(2) as pool,
        Peer(writers.flip_batches_until_told, large.location, 2, PER_BATCH) as peer,
    ):
        assert peer.hear() == "ready"
        flipping = [pool.submit(writers.flip_batches, store, writer, PER_BATCH, done.is_set) for writer in (0, 1)]
        seen = set()
        end = time.monotonic() + 2
        try:
            while time.monotonic() < end:
                for filters in DECIDED:
                    count = store.count_intel_items(**filters)
                    assert count % PER_BATCH == 0, "a count of two moments"
                    seen.add((str(filters), count))
        finally:
            done.set()
        peer.tell()
        assert all(each.result() for each in flipping)
        assert peer.result()
    assert len(seen) > 3 * len(DECIDED)
