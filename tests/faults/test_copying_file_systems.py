"""File systems that write what changes to another place, as Btrfs does: a change takes room, that of a mapped file too.

Where there is none, the kernel ends with SIGBUS whoever writes to a `-shm`; SQLite does so with each commit.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from orchestrator.state_store import StateStore

from tests.conftest import lack
from tests.faults.test_thin_disk import MEGABYTE, run
from tests.helpers import Peer, in_process, plain_sqlite
from tests.programs import disks, openings, plain
from tests.programs.exits import item

DISK = 1000
"""Megabytes."""
QUOTA = 24
"""Megabytes of the first quota: the log has got more than one region of its index by then."""
STEP = 1 << 20
"""How many bytes more the next ones give: less than a log of 48 MiB in all. A checkpoint that runs out of room takes it
from whoever has found some."""
ATTEMPTS = 3
"""Where the machine has other work, room may go between the question and the change; unasked, each program is ended."""
BTRFS = "9123683e"
"""What statfs(2) says of it."""
CUT_OFF = [f"INSERT INTO t SELECT randomblob(1000) FROM t, (VALUES {', '.join(['(1)'] * 500)})"]
"""More than fits into a cache."""


class Quota:
    """A folder of a Btrfs, and how much may be in it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._disk = folder / "disk"
        self._disk.mkdir()
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(DISK * MEGABYTE)
        run("mkfs.btrfs", "-q", image)
        run("mount", "-o", "loop", image, self._disk)
        stack.callback(run, "umount", self._disk)
        run("btrfs", "quota", "enable", self._disk)
        self.folder = self._disk / "limited"
        run("btrfs", "subvolume", "create", self.folder)
        self._group = f"0/{run('btrfs', 'inspect-internal', 'rootid', self.folder)}"

    def used(self) -> int:
        """Return how many bytes count."""
        run("sync", "-f", self.folder)
        last = run("btrfs", "qgroup", "show", "--raw", "-f", self.folder).splitlines()[-1]
        return int(last.split()[1])

    def limit(self, size: int | None) -> None:
        """Let no more bytes than these be there."""
        # From above: where nothing more may be written, the folder itself takes no command.
        run("btrfs", "qgroup", "limit", "none" if size is None else f"{size}", self._group, self._disk)


@pytest.fixture
def quota(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Quota]:
    """Mount such a disk."""
    for name in ("mkfs.btrfs", "btrfs", "mount", "losetup"):
        tool(name)
    with contextlib.ExitStack() as stack:
        try:
            quota = Quota(tmp_path, stack)
        except subprocess.CalledProcessError:
            lack("right to mount disks, or no Btrfs in this kernel")
        yield quota


def fill(quota: Quota, path: Path, synchronous: Literal["FULL", "NORMAL"], rounds: int) -> dict[str, Any]:
    """Let a program use up the quota, and give it some more, so often; return what it was told, if it was not ended."""
    quota.limit(quota.used() + QUOTA * MEGABYTE)
    with Peer(disks.fill_again_and_again, str(path), synchronous) as peer:
        try:
            for _ in range(rounds):
                assert peer.hear() == "full"
                quota.limit(None)
                peer.tell()
                assert peer.hear() == "room"
                quota.limit(quota.used() + STEP)
                peer.tell()
            assert peer.hear() == "full"
            quota.limit(None)
            peer.tell("end")
            told: dict[str, Any] = peer.result()
        except AssertionError:
            quota.limit(None)
            if peer.process.poll() != -signal.SIGBUS:
                raise
            return {}
    return told


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_quota_that_is_used_up_is_a_full_disk(
    quota: Quota,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
    synchronous: Literal["FULL", "NORMAL"],
) -> None:
    for attempt in range(ATTEMPTS):
        path = quota.folder / f"{attempt}.db"
        told = fill(quota, path, synchronous, rounds(5, 60))
        if told:
            break
    assert told, f"{ATTEMPTS} of {ATTEMPTS} were ended by SIGBUS"
    assert set(told["errors"]) <= {"DiskFullError", "CommitOutcomeUnknownError"}
    with StateStore(path) as store:
        found = {each["item_id"] for each in store.iter_intel_items(fields=["item_id"])}
        assert store.check() == []
    acknowledged, unknown = (
        {f"{index}-{part}" for index, batch in told[what] for part in range(batch)}
        for what in ("acknowledged", "unknown")
    )
    assert acknowledged - found == set()
    assert found - acknowledged - unknown == set()
    figure(f"{len(acknowledged)} acknowledged, 0 lost; {told['errors']}")


def test_quota_that_is_used_up_is_a_full_disk_on_every_file_system(path: Path, fault: Callable[[str], None]) -> None:
    with Peer(disks.fail_four_times, str(path)) as peer:
        peer.hear()
        fault("quota")
        peer.tell()
        peer.hear()
        fault("")
        peer.tell()
        told = peer.result()
    full = 'DiskFullError: upsert_intel_item "{}": database or disk is full; nothing was written'
    assert told == [full.format(name) for name in "abcd"]


def test_index_that_cannot_get_longer_leaves_no_commit_in_the_log(path: Path, fault: Callable[[str], None]) -> None:
    """The next opening finds nothing of what failed, even if the process is killed right then."""
    with Peer(disks.commit_until_it_fails, str(path)) as peer:
        peer.hear()
        fault("no index")
        peer.tell()
        name, error = peer.hear().split(" ", 1)
        assert error == f'DiskFullError: upsert_intel_item "{name}": database or disk is full; nothing was written'
        peer.kill()
    fault("")
    with StateStore(path) as store:
        assert store.get_intel_item(name) is None
        assert store.get_intel_item(f"small-{int(name.removeprefix('small-')) - 1}")
        store.upsert_intel_item(item(name))
        assert store.check() == []


def test_foreign_file_that_was_cut_off_is_refused_and_gets_no_index(path: Path, fault: Callable[[str], None]) -> None:
    """Its journal is rolled back; the sync of that is none of a checkpoint, and needs no `-shm`."""
    plain_sqlite(path, "CREATE TABLE t(x)", "INSERT INTO t VALUES (1)")
    with Peer(plain.run_and_die, str(path), ["PRAGMA cache_size = 1", "BEGIN", *CUT_OFF]) as peer:
        peer.hear()
    assert path.with_name(f"{path.name}-journal").exists()
    fault(f"statfs {BTRFS}")
    assert in_process(openings.open_each, str(path))[0][0].startswith("ForeignDatabaseError: ")
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(path.name)] == [path.name]


def leave_a_large_log(path: Path) -> None:
    """Kill a process that has written more than a region of the index tells of."""
    with Peer(disks.write_a_large_log, str(path)) as peer:
        peer.hear()
        peer.kill()


def test_large_log_is_not_recovered_where_there_is_no_room_for_all_of_its_index(
    path: Path, fault: Callable[[str], None]
) -> None:
    leave_a_large_log(path)
    fault("no room further")
    assert in_process(openings.open_each, str(path))[0] == ["DiskFullError: database or disk is full"] * 2
    fault("")
    with StateStore(path) as store:
        assert store.count_intel_items() == 2 * disks.LARGE
        assert store.check() == []


def test_commit_in_a_log_that_cannot_be_written_again_is_not_called_unwritten(
    path: Path, fault: Callable[[str], None]
) -> None:
    """A log that a killed process has left is written again with the first commit, which is in it by then."""
    leave_a_large_log(path)
    with Peer(disks.write_when_told, str(path), "new") as peer:
        peer.hear()
        fault("no rewrite")
        peer.tell()
        assert peer.hear().startswith("CommitOutcomeUnknownError: ")
        peer.kill()


def test_room_is_asked_for_between_pages_that_are_too_many_for_memory(path: Path, fault: Callable[[str], None]) -> None:
    fault(f"statfs {BTRFS}")
    with Peer(disks.go_on_when_told, str(path)) as peer:
        peer.hear()
        fault("no room")
        peer.tell()
        assert peer.hear().startswith("DiskFullError: ")
        peer.kill()


def test_no_room_for_the_index_is_a_full_disk_before_anything_is_written(
    path: Path, fault: Callable[[str], None]
) -> None:
    fault(f"statfs {BTRFS}")
    with Peer(disks.commit_as_told, str(path)) as peer:
        assert peer.hear() == "inside"
        fault("no room")
        peer.tell()
        assert peer.hear().startswith("DiskFullError: ")
        peer.kill()
    fault("")
    with StateStore(path) as store:
        assert [each["item_id"] for each in store.list_intel_items()] == ["first"]
        store.upsert_intel_item(item("failed"))
        assert store.check() == []
