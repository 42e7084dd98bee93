# ruff: noqa: PT012 - what a block does before it fails is the point
"""Close() while others write and read, and the end of a process that never closes."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreClosedError

from tests.helpers import TIMEOUT, Peer, assert_sound, in_process, item_ids, leaving_nothing, make_item
from tests.programs import exits

FULL_CLOSES = 500
GROWTH = 8 * 2**20
"""Bytes that the allocator may keep: a store with what it has read and written is a few hundred KiB, each time."""


def write_until_closed(store: StateStore, prefix: str, kept: list[str], progress: threading.Semaphore) -> None:
    for index in itertools.count():
        name = f"{prefix}-{index}"
        try:
            if index % 3:
                store.upsert_intel_item(make_item(name))
            else:
                with store.transaction():
                    store.upsert_intel_item(make_item(name))
        except StoreClosedError:
            return
        kept.append(name)
        progress.release()


def read_until_closed(store: StateStore) -> None:
    with pytest.raises(StoreClosedError):
        while True:
            store.list_intel_items_for_run("run-0")


@pytest.mark.parametrize("readers", [0, 3])
def test_close_among_eight_writers_keeps_what_was_acknowledged(
    path: Path, readers: int, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Each call is either kept or refused; nothing hangs, nothing else is raised."""
    random_ = random.Random(readers)
    kept: list[str] = []
    closes = rounds(10, FULL_CLOSES // 2)
    with leaving_nothing():
        for round_ in range(closes):
            store = StateStore(path, synchronous="NORMAL", pool_size=2)
            if round_ == 0:
                store.start_run("run-1", "daily", {})
            progress = threading.Semaphore(0)
            with ThreadPoolExecutor(8 + readers) as pool:
                names = [f"{round_}-{writer}" for writer in range(8)]
                calls = [pool.submit(write_until_closed, store, name, kept, progress) for name in names]
                calls += [pool.submit(read_until_closed, store) for _ in range(readers)]
                for _ in range(random_.randrange(1, 40)):
                    assert progress.acquire(timeout=TIMEOUT)
                store.close()
                for call in calls:
                    call.result(TIMEOUT)
    with StateStore(path) as store:
        assert set(kept) <= set(item_ids(store))
        assert_sound(store)
    figure(f"{closes} closes, nothing lost, nothing left open")


def test_what_is_closed_keeps_no_memory(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    closes = rounds(50, FULL_CLOSES)
    grown = in_process(exits.close_again_and_again, str(path), closes)
    assert grown < GROWTH
    figure(f"{closes} closes, the process {grown / 2**20:.1f} MiB larger")


@pytest.mark.parametrize("how", ["idle", "in a transaction", "while threads write", "sys.exit in a thread's block"])
def test_exit_without_close_hangs_nothing_and_loses_nothing(path: Path, how: str) -> None:
    with Peer(exits.leave, str(path), how) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0
    with StateStore(path) as store:
        assert acknowledged <= set(item_ids(store))
        assert "not committed" not in item_ids(store)
        assert_sound(store)
