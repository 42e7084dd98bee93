"""A backup that never ends, is not whole, or costs somebody something."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import TIMEOUT, Peer, assert_sound, in_process, item_ids, make_item
from tests.programs import backups

WRITERS = 8
BATCH = 10
NAMES = 50


@pytest.fixture
def large_path(run_path: Path) -> Path:
    """Return a store of some 20 MB."""
    with StateStore(run_path, synchronous="NORMAL") as store:
        store.upsert_intel_items_batch(make_item(f"{index}", summary="s" * 10_000) for index in range(2_000))
    return run_path


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return where backups go: a folder of their own."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


def test_a_backup_under_eight_writers_ends_and_is_whole(
    large_path: Path, dest: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """It has all that was acknowledged before it began, and of what came meanwhile no batch in part."""
    acknowledged: dict[str, int] = {}
    written = [0] * WRITERS
    stop, started = threading.Event(), threading.Barrier(WRITERS + 1)

    def write(writer: int) -> None:
        for number in itertools.count():
            name = f"{writer}-{number % NAMES}"
            title = f"{number}"
            store.upsert_intel_items_batch(make_item(f"{name}-{part}", title=title) for part in range(BATCH))
            acknowledged[name] = number
            written[writer] += 1
            if number == 0:
                started.wait(TIMEOUT)
            if stop.is_set():
                return

    repeat, meanwhile = rounds(3, 50), 0
    with StateStore(large_path) as store, ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, writer) for writer in range(WRITERS)]
        started.wait(TIMEOUT)
        for _ in range(repeat):
            before, written_before = dict(acknowledged), sum(written)
            store.backup(dest, overwrite=True)
            meanwhile += sum(written) - written_before
            copied = batches(dest)
            assert all(copied[name] >= number for name, number in before.items())
        stop.set()
        for writer in writers:
            writer.result(TIMEOUT)
    assert meanwhile > 0
    figure(f"{repeat} backups, each while some {meanwhile // repeat} batches were written")


def batches(path: Path) -> dict[str, int]:
    """Return the batches in a copy, each with its number, which all of its items must have."""
    numbers: dict[str, list[int]] = {}
    with StateStore(path) as copy:
        assert_sound(copy)
        for item in copy.iter_intel_items():
            if "-" in item["item_id"]:
                numbers.setdefault(item["item_id"].rpartition("-")[0], []).append(int(item["title"]))
    assert all(each == each[:1] * BATCH for each in numbers.values()), "a torn batch"
    return {name: each[0] for name, each in numbers.items()}


def test_a_killed_backup_leaves_no_file_of_that_name(large_path: Path, dest: Path) -> None:
    """Nor does it keep the next one, or the store, from anything."""
    with Peer(backups.stop_in_the_middle, str(large_path), str(dest)) as peer:
        peer.hear()
        peer.kill()
    [partial] = dest.parent.iterdir()
    assert partial.suffix == ".partial"
    with StateStore(large_path) as store:
        store.backup(dest)
        names = item_ids(store)
    with StateStore(dest) as copy:
        assert item_ids(copy) == names


def test_a_full_disk_leaves_nothing_behind(large_path: Path, dest: Path) -> None:
    outcome = in_process(backups.onto_a_full_disk, str(large_path), str(dest), 10 << 20)
    assert outcome["failed"] in {"StorageIOError", "DiskFullError"}
    assert outcome["files"] == []
    with StateStore(large_path) as store:
        assert item_ids(store)[-1] == "after"


def test_a_fork_in_the_middle_leaves_the_backup_to_the_parent(large_path: Path, dest: Path) -> None:
    with Peer(backups.fork_in_the_middle, str(large_path), str(dest)) as peer:
        assert peer.hear() == "child: TransactionError"
        assert peer.result() == {"child": 0, "files": ["copy.db"]}
    with StateStore(large_path) as store, StateStore(dest) as copy:
        assert item_ids(store) == [*item_ids(copy), "child", "parent"]
        assert_sound(store)
        assert_sound(copy)
