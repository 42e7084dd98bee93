"""The log stays small under writers and readers, of several processes too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, item_ids
from tests.programs import logs

WRITES = 20_000
LIMIT = 64 << 20
TRANSACTION = 64 << 10
"""Bytes that are more than the largest transaction takes."""

STARVED = 2
"""How many times the limit it may be once where the machine is so busy that a read outlasts the patience of writers.
Without checkpoints, the log of these writes takes more than 300 MB."""


@pytest.mark.parametrize("processes", [1, 3])
def test_log_stays_small_under_writers_and_readers(
    run_path: Path, figure: Callable[[str], None], processes: int
) -> None:
    with contextlib.ExitStack() as stack:
        count = WRITES // processes
        programs = [Peer(logs.write_under_readers, str(run_path), process, count) for process in range(processes)]
        peers = [stack.enter_context(program) for program in programs]
        for peer in peers:
            assert peer.hear() == "ready"
        for peer in peers:
            peer.tell()
        sizes = sorted(size for peer in peers for size in peer.result())
    usual, largest = sizes[len(sizes) // 2], sizes[-1]
    figure(f"{processes} writing processes: usually {usual / 2**20:.0f} MiB, {largest / 2**20:.0f} MiB at the most")
    assert usual <= LIMIT + TRANSACTION
    assert largest <= STARVED * LIMIT

    with StateStore(run_path) as store:
        assert len(item_ids(store)) == len(sizes)
        assert_sound(store)
    assert [entry.name for entry in run_path.parent.iterdir()] == [run_path.name]
