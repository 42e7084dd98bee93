"""Disks that fail to take what was written, as Linux reports it: once, and then never again. See `write_back.c`."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

TARGETS = {"": 0, "database": 1, "log": 2}
WORDS = struct.Struct("6I")
SIZE = 1 << 19
"""Bytes that are more than the library's state takes."""


class WriteBack:
    """What the programs that were started with the library share."""

    def __init__(self, state: Path) -> None:
        with state.open("xb+") as file:
            file.truncate(SIZE)
            self._state = mmap.mmap(file.fileno(), SIZE)

    def fail(self, target: str, number: int = 1, *, forever: bool = False, drop: bool = False) -> None:
        """Have the next such sync fail that has something to take, or all from it on; "" lets all succeed.

        With `drop`, what it was to take is gone at once for those who read it as well.
        """
        if target:
            self._state[8:24] = struct.pack("4I", number, forever, drop, 0)
        self._state[4:8] = struct.pack("I", TARGETS[target])

    @property
    def failed(self) -> int:
        """How many have failed since one was to."""
        return int(WORDS.unpack_from(self._state)[5])

    def power_cut(self, path: Path) -> None:
        """Leave of a store's files what the disk has. For when all programs have ended."""
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        for file in (path, path.with_name(f"{path.name}-wal")):
            disk = file.with_name(f"{file.name}.disk")
            if disk.exists():
                disk.replace(file)
            else:
                file.unlink(missing_ok=True)
