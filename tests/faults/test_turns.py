"""Turns between processes: nobody starves, and whoever is stopped or killed in line keeps nobody from writing."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, make_item, plain_sqlite
from tests.programs import turns

TURN_BYTE = 0x4000_0000 + 1024
FLOCK = "hhqqi4x"
"""What fcntl(2) takes: the kind, from where, the first byte, how many, and no process."""


@pytest.fixture
def shared(path: Path) -> Iterator[StateStore]:
    """Open a store with a run."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        yield store


def somebody_is_next(path: Path) -> bool:
    """Look whether the byte is locked. SQLite locks nothing in a log, so that closing it drops no lock."""
    with Path(f"{path}-wal").open("r+b") as log:
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, TURN_BYTE, 1, 0)
        kind: int = struct.unpack(FLOCK, fcntl.fcntl(log, fcntl.F_OFD_GETLK, asked))[0]
        return kind != fcntl.F_UNLCK


def be_next(path: Path, store: StateStore, peer: Peer) -> None:
    """Have a process be next, while the transaction that is open holds the file's lock."""
    store.upsert_intel_item(make_item("first"))
    assert peer.hear() == "ready"
    while not somebody_is_next(path):
        os.sched_yield()


def test_four_processes_that_write_without_pause_share_the_file(
    path: Path, shared: StateStore, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """One of them did 794 transactions in 10 s once, and the others 11, 7 and 2, and StoreBusyErrors."""
    with ExitStack() as stack:
        seconds = rounds(4, 30)
        peers = [
            stack.enter_context(Peer(turns.write_without_pause, str(path), f"{index}", seconds)) for index in range(4)
        ]
        for peer in peers:
            assert peer.hear() == "ready"
        for peer in peers:
            peer.tell()
        counts = sorted(peer.result() for peer in peers)
    assert counts[0] * 5 >= counts[-1], counts
    figure(f"{counts[0]} to {counts[-1]} transactions each")
    assert_sound(shared)


@pytest.mark.parametrize("stopped", [1, 2])
@pytest.mark.parametrize("writers", [2, 3])
def test_processes_share_the_file_while_others_are_stopped_in_line(
    path: Path, shared: StateStore, writers: int, stopped: int, rounds: Callable[[int, int], int]
) -> None:
    """One of them did 284 transactions and the other 9: whoever knew of the stopped one kept the others out."""
    with ExitStack() as stack:
        log = stack.enter_context(Path(f"{path}-wal").open("r+b"))
        fcntl.fcntl(log, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, TURN_BYTE, stopped, 0))
        seconds = rounds(3, 10)
        peers = [
            stack.enter_context(Peer(turns.write_without_pause, str(path), f"{index}", seconds))
            for index in range(writers)
        ]
        for peer in peers:
            assert peer.hear() == "ready"
        for peer in peers:
            peer.tell()
        counts = sorted(peer.result() for peer in peers)
    assert counts[0] * 5 >= counts[-1], counts
    assert_sound(shared)


def test_who_waits_comes_before_who_has_just_written(path: Path, shared: StateStore) -> None:
    with Peer(turns.wait_to_write, str(path)) as peer:
        with shared.transaction():
            be_next(path, shared, peer)
        shared.upsert_intel_item(make_item("last"))
        assert peer.result()
    order = [row[0] for row in shared.connection.execute("SELECT item_id FROM intel_items ORDER BY rowid")]
    assert order == ["first", "waited for", "last"]


@pytest.mark.parametrize("timeout", [0.0, 30.0])
def test_a_process_that_is_stopped_in_line_costs_others_little(path: Path, shared: StateStore, timeout: float) -> None:
    with StateStore(path, busy_timeout=timeout) as store, Peer(turns.wait_to_write, str(path)) as peer:
        with shared.transaction():
            be_next(path, shared, peer)
            peer.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for index in range(50):
            store.upsert_intel_item(make_item(f"{index}"))
        assert time.monotonic() - began < 3, "each of them waited"
        plain_sqlite(path, "UPDATE intel_items SET title = 'by plain SQLite' WHERE item_id = 'first'")
        assert somebody_is_next(path)
        peer.process.send_signal(signal.SIGCONT)
        assert peer.result()
    assert not somebody_is_next(path)


def test_a_process_that_is_killed_in_line_is_no_longer(path: Path, shared: StateStore) -> None:
    with Peer(turns.wait_to_write, str(path)) as peer, shared.transaction():
        be_next(path, shared, peer)
        peer.process.kill()
        peer.process.wait()
        assert not somebody_is_next(path)


def test_a_forked_child_does_not_stay_in_line(path: Path, shared: StateStore) -> None:
    """It has the parent's descriptors, and with them its locks, after the parent was killed."""
    with Peer(turns.fork_while_waiting, str(path)) as peer, shared.transaction():
        be_next(path, shared, peer)
        peer.tell()
        child = int(peer.hear())
        assert somebody_is_next(path), "the child has unlocked its parent's byte"
        os.kill(peer.process.pid, signal.SIGKILL)
        peer.process.wait()
        try:
            assert not somebody_is_next(path)
        finally:
            os.kill(child, signal.SIGKILL)
