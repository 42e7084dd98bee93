"""A thin disk that is out of space for a while: the kernel's own failed write-backs, on real file systems.

The file system believes that it has room. What it cannot write it reports to the sync, once, and forgets: after it was
mounted anew only what is really on the disk is there.
"""

from __future__ import annotations

import ast
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import lack
from tests.faults.test_failed_write_back import ids, left
from tests.helpers import TIMEOUT, Peer
from tests.programs import write_back as programs

MEGABYTE = 1 << 20
DISK = 400
"""Megabytes; XFS wants more than 300."""
PAGE = 4096
IN_FLIGHT = 8
"""The field of a device's `stat` that counts the requests that it has not completed."""
STAGES = {"new": 4, "growing": 90, "grown": 250}
"""Batches after which the log is new, has a part of the room it needs, and has all of it."""
MAKE = {
    "xfs": ("mkfs.xfs", "-q", "-K", "-s", f"size={PAGE}"),
    "ext4": ("mkfs.ext4", "-q", "-b", f"{PAGE}", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"),
}


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class ThinDisk:
    """A file system on an image whose unused parts take no room, in a folder that has little."""

    def __init__(self, folder: Path, kind: str, stack: contextlib.ExitStack) -> None:
        self._store, self.folder = folder / "store", folder / "disk"
        self._store.mkdir()
        self.folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK + 40}m", "tmpfs", self._store)
        stack.callback(run, "umount", self._store)
        image = self._store / "image"
        with image.open("wb") as file:
            file.truncate(DISK * MEGABYTE)
        run(*MAKE[kind], image)
        # All of it takes room, what the file system keeps for itself included, until it gives up what it does not use.
        with image.open("rb+") as file:
            for number in range(DISK):
                part = file.read(MEGABYTE)
                file.seek(number * MEGABYTE)
                file.write(part)
        self._loop = run("losetup", "--sector-size", f"{PAGE}", "-f", "--show", image)
        stack.callback(run, "losetup", "-d", self._loop)
        # A loop device tells of a write that was cut short as of a whole one; one of a page is never cut short.
        self._device = Path("/sys/block") / Path(self._loop).name
        (self._device / "queue" / "max_sectors_kb").write_text(f"{PAGE >> 10}")
        self.mount()
        stack.callback(run, "umount", self.folder)

    def mount(self) -> None:
        run("mount", self._loop, self.folder)

    def mount_anew(self) -> None:
        """Forget all that is in memory only."""
        run("umount", self.folder)
        self.mount()

    def fill(self) -> None:
        """Let the disk have no room for what it has not yet."""
        run("sync", "-f", self.folder)
        run("fstrim", self.folder)
        # XFS does not wait for the device to give up the room: what is filled before would have room again.
        while (self._device / "stat").read_text().split()[IN_FLIGHT] != "0":
            time.sleep(0.001)
        for size in (MEGABYTE, PAGE):
            with (self._store / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass

    def make_room(self) -> None:
        (self._store / "filler").unlink()


@pytest.fixture(params=list(MAKE))
def thin_disk(request: pytest.FixtureRequest, tool: Callable[[str], str], tmp_path: Path) -> Iterator[ThinDisk]:
    """Mount such a disk."""
    for name in (MAKE[request.param][0], "mount", "losetup", "fstrim"):
        tool(name)
    with contextlib.ExitStack() as stack:
        try:
            disk = ThinDisk(tmp_path, request.param, stack)
        except subprocess.CalledProcessError:
            lack("right to mount disks")
        yield disk


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("processes", [1, 3])
def test_disk_that_is_out_of_space_for_a_while_loses_nothing(
    thin_disk: ThinDisk,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
    processes: int,
    stage: str,
) -> None:
    """It is out of space while the log grows, or once that has its room and only the database has to grow."""
    path = thin_disk.folder / "state.db"
    items = STAGES[stage] * programs.BATCH + rounds(5_500, 17_500)
    with contextlib.ExitStack() as stack:
        batches = -(-items // (programs.BATCH * processes))
        first = STAGES[stage] // processes
        arguments = [(str(path), f"p{number}", batches, first) for number in range(processes)]
        peers = [stack.enter_context(Peer(programs.write_on_a_thin_disk, *each)) for each in arguments]
        names = [line for peer in peers for line in iter(peer.hear, "waits")]
        thin_disk.fill()
        for peer in peers:
            peer.tell()
        names += [line for peer in peers for line in iter(peer.hear, "waits")]
        thin_disk.make_room()
        for peer in peers:
            peer.tell()
        outcomes = []
        for peer in peers:
            *last, outcome = peer.lines()
            assert peer.process.wait(TIMEOUT) == 0
            names += last
            outcomes.append(ast.literal_eval(outcome))
    failed = sum(outcome["failed"] for outcome in outcomes)
    assert failed > 0, "the disk took everything"
    thin_disk.mount_anew()
    assert len(names) * programs.BATCH >= items
    assert ids(names) - left(path) == set()
    told = sorted({error for outcome in outcomes for error in outcome["errors"]})
    acknowledged = len(names) * programs.BATCH
    figure(f"{acknowledged} acknowledged, 0 lost; {failed} failed syncs, errors: {', '.join(told) or 'none'}")
