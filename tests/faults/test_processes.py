"""Processes that open, read and write one file at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, item_ids, make_item, value
from tests.programs import writers


def all_at_once(peers: list[Peer]) -> list[Any]:
    """Let programs begin at the same time; return what each returned."""
    with contextlib.ExitStack() as stack:
        for peer in peers:
            stack.enter_context(peer)
        for peer in peers:
            assert peer.hear() == "ready"
        for peer in peers:
            peer.tell()
        return [peer.result() for peer in peers]


def test_mixed_writes_of_four_processes_of_two_threads_lose_nothing(path: Path) -> None:
    """A deferred transaction that reads, then writes, would fail at once whatever the timeout."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("sum", claims_json=0))
    results = all_at_once([Peer(writers.mixed_writes, str(path), index, 2, 300) for index in range(4)])
    written = [name for names in results for name in names]
    assert len(written) == 8 * (60 + 180 + 60)
    with StateStore(path) as store:
        assert set(item_ids(store)) == {*written, "sum"}
        assert len(item_ids(store)) == len(written) + 1
        assert value(store, "SELECT claims_json FROM intel_items WHERE item_id = 'sum'") == str(8 * 60)
        complete = (
            "SELECT count(*) FROM runs JOIN telemetry USING (run_id) WHERE run_type = 'mixed' AND status = 'completed'"
        )
        assert value(store, complete) == 8 * 60
        assert_sound(store)


def test_first_opening_by_sixteen_processes_at_once(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Whoever comes first makes the schema; nobody fails."""
    files = rounds(5, 100)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(writers.open_first, process)) for process in range(16)]
        for peer in peers:
            assert peer.hear() == "ready"
        for round_ in range(files):
            path = str(tmp_path / f"{round_}" / "state.db")
            for peer in peers:
                peer.tell(path)
            assert [peer.hear() for peer in peers] == [path] * 16
        for peer in peers:
            peer.tell("")
            assert peer.result() is None
    for round_ in range(files):
        with StateStore(tmp_path / f"{round_}" / "state.db") as store:
            rows = store.connection.execute("SELECT run_id, item_id FROM intel_items").fetchall()
            assert sorted(map(tuple, rows)) == sorted((f"run-{process}", f"item-{process}") for process in range(16))
            assert_sound(store)
    figure(f"{files * 16} openings, no failure")


def test_read_modify_writes_of_eight_processes(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """A deferred transaction that reads, then writes, would fail at once whatever the timeout."""
    count = rounds(50, 1250)
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("sum", claims_json=0))
    all_at_once([Peer(writers.count_up, str(path), count) for _ in range(8)])
    with StateStore(path) as store:
        assert value(store, "SELECT claims_json FROM intel_items") == str(8 * count)
    figure(f"{8 * count} read-modify-writes, no failure")


def test_sixteen_writers_all_get_their_turn(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Under contention nobody is told that the database is locked."""
    count = rounds(25, 1000)
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("sum", claims_json=0))
    written = all_at_once([Peer(writers.mixed_writes, str(path), writer, 1, count) for writer in range(16)])
    with StateStore(path) as store:
        assert set(item_ids(store)) == {"sum", *(name for names in written for name in names)}
        assert_sound(store)
    figure(f"16 writers x {count}, no error")


def test_other_processes_never_see_half_a_transaction(path: Path) -> None:
    with StateStore(path, synchronous="NORMAL") as store:
        store.start_run("run-1", "daily", {})
        with Peer(writers.watch, str(path), 10) as reader, Peer(writers.watch, str(path), 10) as other:
            assert (reader.hear(), other.hear()) == ("ready", "ready")
            for index in range(150):
                if index % 2:
                    store.upsert_intel_items_batch(make_item(f"{index:03}-{part}") for part in range(10))
                else:
                    with store.transaction():
                        for part in range(10):
                            store.upsert_intel_item(make_item(f"{index:03}-{part}"))
            reader.tell()
            other.tell()
            assert (reader.result(), other.result()) == (0, 0)


def test_what_one_process_wrote_another_reads_at_once(path: Path) -> None:
    with StateStore(path) as store, Peer(writers.mixed_writes, str(path), 0, 1, 10) as peer:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("sum", claims_json=0))
        assert peer.hear() == "ready"
        peer.tell()
        written = peer.result()
        assert set(item_ids(store)) == {*written, "sum"}
