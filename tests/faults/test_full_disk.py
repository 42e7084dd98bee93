"""A full disk: a typed error, nothing half written, reads go on, and so do writes once there is room."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, item_ids
from tests.programs import disks

MEGABYTE = 2**20


@dataclasses.dataclass(frozen=True)
class Disk:
    """A disk that is full, or becomes so."""

    folder: Path
    errors: set[str]
    limit: int | None = None
    fill: Callable[[], object] = lambda: None
    make_room: Callable[[], object] = lambda: None


def mount(folder: Path, *options: str) -> bool:
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture(params=["tmpfs", "file size limit", "failing writes"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Make a disk that fills up. Where nobody may mount one, `faults.c` says 'no space left' in its place."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "file size limit":
        kinds = {"StorageIOError", "CommitOutcomeUnknownError", "DiskFullError"}
        yield Disk(folder, kinds, limit=3 * MEGABYTE)
    elif request.param == "tmpfs" and mount(folder, f"size={4 * MEGABYTE}"):
        yield Disk(folder, {"DiskFullError"}, make_room=lambda: mount(folder, "remount", f"size={64 * MEGABYTE}"))
        subprocess.run(["umount", str(folder)], check=True)
    else:
        fault: Callable[[str], None] = request.getfixturevalue("fault")
        yield Disk(folder, {"DiskFullError"}, fill=lambda: fault("full"), make_room=lambda: fault(""))


@pytest.mark.parametrize("shape", disks.SHAPES)
def test_full_disk(disk: Disk, shape: str) -> None:
    path = disk.folder / "state.db"
    with Peer(disks.fill, str(path), shape, disk.limit) as peer:
        assert peer.hear() == "opened"
        disk.fill()
        peer.tell()
        assert peer.hear() == "full"
        disk.make_room()
        peer.tell()
        outcome = peer.result()

    ended_by_a_transaction = {"TransactionDoomedError"} if shape.startswith("transaction") else set()
    assert outcome["error"] in disk.errors | ended_by_a_transaction
    assert set(outcome.get("inside", [])) <= disk.errors | {"TransactionDoomedError"}
    acknowledged = {"before", *outcome["acknowledged"]} - {"while full"}
    unknown = set(outcome["failed"]) if outcome["error"] == "CommitOutcomeUnknownError" else set()
    assert acknowledged <= set(outcome["items"]) <= acknowledged | unknown
    acknowledged |= {"after", *outcome["acknowledged"]}
    assert acknowledged <= set(outcome["items after"])

    with StateStore(path) as store:
        there = set(item_ids(store))
        assert acknowledged <= there <= acknowledged | unknown | {"while full"}
        assert not unknown & there or unknown <= there, "a torn batch"
        assert_sound(store)
