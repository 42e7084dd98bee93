"""A full disk: a typed error, nothing half written, reads go on, and so do writes once there is room."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.conftest import lack
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
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.fixture
def small_disk(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Disk]:
    """Mount a disk of a few megabytes."""
    tool("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, f"size={4 * MEGABYTE}"):
        lack("right to mount")
    yield Disk(folder, {"DiskFullError"}, make_room=lambda: mount(folder, "remount", f"size={64 * MEGABYTE}"))
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def limited_files(tmp_path: Path) -> Disk:
    """Let no file of the program grow beyond a few megabytes, as `ulimit -f` does."""
    return Disk(tmp_path, {"StorageIOError", "CommitOutcomeUnknownError", "DiskFullError"}, limit=3 * MEGABYTE)


@pytest.fixture
def failing_writes(tmp_path: Path, fault: Callable[[str], None]) -> Disk:
    """Have all writes fail with 'no space left', the first one after the program has begun too."""
    return Disk(tmp_path, {"DiskFullError"}, fill=lambda: fault("full"), make_room=lambda: fault(""))


@pytest.fixture(params=["small_disk", "limited_files", "failing_writes"])
def disk(request: pytest.FixtureRequest) -> Disk:
    """Make a disk that fills up."""
    full: Disk = request.getfixturevalue(request.param)
    return full


@pytest.mark.parametrize("shape", disks.SHAPES)
def test_full_disk_is_told_of_and_writes_resume_when_there_is_room(
    disk: Disk, shape: str, figure: Callable[[str], None]
) -> None:
    path = disk.folder / "state.db"
    with Peer(disks.fill, str(path), shape, disk.limit) as peer:
        assert peer.hear() == "opened"
        disk.fill()
        peer.tell()
        assert peer.hear() == "full"
        disk.make_room()
        peer.tell()
        outcome = peer.result()

    if shape == "transaction that swallows errors":
        assert outcome["error"] == "TransactionDoomedError", "SQLite rolled it back, and it went on"
        assert "TransactionDoomedError" in outcome["inside"], "a write after that error was not refused"
    else:
        assert outcome["error"] in disk.errors
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
    figure(f"{outcome['error']} after {len(outcome['acknowledged'])} calls, 0 lost, writes resumed")
