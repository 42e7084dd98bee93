"""What a power cut would leave of a program's files, rebuilt from a record of its system calls.

A disk keeps what was synced. Of what was written later it may keep any sectors, in any order: those that a cut finds
under way are torn. The same goes for a folder: a file that was created or removed is surely so once the folder is
synced, and until then the latest changes may be missing. What a program has printed before the cut was acknowledged.
"""

from __future__ import annotations

import bisect
import itertools
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.tracing import Call, trace

SECTOR = 512
"""Bytes that a disk writes at once or not at all."""

KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How much of what was not synced survives: one of these shares at each cut."""

TRACED = "openat,unlink,write,pwrite64,ftruncate,fsync,fdatasync"
MADE_ANEW = ("-shm",)
"""Ends of the names of files that are made anew after a cut; they are mapped, so that strace sees nothing of them."""

NEVER = sys.maxsize
T = TypeVar("T")


@dataclass
class Change(Generic[T]):
    """A change of a file or folder: when it began and ended, and when it was sure to survive a cut."""

    begin: int
    end: int
    what: T
    durable: int = NEVER


@dataclass
class Changes(Generic[T]):
    """The changes of one file or folder, in their order."""

    all: list[Change[T]] = field(default_factory=list)
    unsynced: int = 0

    def add(self, call: Call, what: T) -> None:
        """Add a change that this call makes."""
        self.all.append(Change(call.begin, call.end, what))

    def sync(self, call: Call) -> None:
        """Make durable what had ended when this sync began."""
        while self.unsynced < len(self.all) and self.all[self.unsynced].end < call.begin:
            self.all[self.unsynced].durable = call.end
            self.unsynced += 1

    def durable_at(self, cut: int) -> int:
        """Return how many of the changes have been durable by then."""
        return bisect.bisect_right(self.all, cut, key=lambda change: change.durable)


@dataclass(frozen=True)
class Written:
    """Bytes at an offset."""

    offset: int
    data: bytes

    def apply(self, content: bytearray) -> None:
        """Do it to a file's content; a gap before it is zeros."""
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data)] = self.data

    def torn(self, keeps: Callable[[], bool]) -> Iterator[Written]:
        """Go through those of its sectors that are kept."""
        start, end = self.offset, self.offset + len(self.data)
        while start < end:
            stop = min(end, (start // SECTOR + 1) * SECTOR)
            if keeps():
                yield Written(start, self.data[start - self.offset : stop - self.offset])
            start = stop


@dataclass(frozen=True)
class Resized:
    """Cut off at a size, or extended to it."""

    size: int

    def apply(self, content: bytearray) -> None:
        """Do it to a file's content."""
        del content[self.size :]
        content.extend(bytes(self.size - len(content)))

    def torn(self, keeps: Callable[[], bool]) -> Iterator[Resized]:
        """Go through what is kept of it: all or nothing."""
        if keeps():
            yield self


class File:
    """A file: its changes, and its content as far as it is known to be durable."""

    def __init__(self) -> None:
        self.changes: Changes[Written | Resized] = Changes()
        self._applied = 0
        self._content = bytearray()

    def after(self, cut: int, keeps: Callable[[], bool]) -> bytearray:
        """Return what a cut leaves. Cuts are asked for in their order."""
        changes = self.changes.all
        durable = self.changes.durable_at(cut)
        for change in changes[self._applied : durable]:
            change.what.apply(self._content)
        self._applied = durable
        content = bytearray(self._content)
        for change in itertools.takewhile(lambda change: change.begin < cut, changes[durable:]):
            for part in change.what.torn(keeps):
                part.apply(content)
        return content


@dataclass(frozen=True)
class Entry:
    """A name in the folder that leads to a file from now on, or to nothing."""

    name: str
    file: File | None


@dataclass(frozen=True)
class Remains:
    """What a cut leaves: the files by name, and what the program had acknowledged before it."""

    files: dict[str, bytearray]
    acknowledged: list[str]

    def rebuild(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


class Recording:
    """What a program did to the files of a folder that was empty before."""

    def __init__(self, calls: Iterable[Call], folder: Path) -> None:
        self.folder: Changes[Entry] = Changes()
        self.acknowledged: list[tuple[int, str]] = []
        self.end = 0
        files: dict[str, File] = {}
        for call in sorted(calls, key=lambda call: call.begin):
            if call.failed:
                continue
            if call.mark:
                self.acknowledged.append((call.begin, call.mark))
            elif call.path == folder and call.name in ("fsync", "fdatasync"):
                self.folder.sync(call)
            elif call.path.parent == folder and not call.path.name.endswith(MADE_ANEW):
                self._change(files, call)
            else:
                continue
            self.end = call.end + 1

    def _change(self, files: dict[str, File], call: Call) -> None:
        name = call.path.name
        if call.name == "openat":
            if "O_CREAT" in call.flags and name not in files:
                files[name] = File()
                self.folder.add(call, Entry(name, files[name]))
        elif call.name == "unlink":
            del files[name]
            self.folder.add(call, Entry(name, None))
        elif call.name == "pwrite64":
            files[name].changes.add(call, Written(call.numbers[-1], call.data))
        elif call.name == "ftruncate":
            files[name].changes.add(call, Resized(call.numbers[-1]))
        elif call.name in ("fsync", "fdatasync"):
            files[name].changes.sync(call)
        else:
            raise AssertionError(f"{call.name} of {name} is not known here")

    def log_starts(self) -> int:
        """Return how often a log was written from its start: as a new file, or again after a checkpoint."""
        logs = [change.what.file for change in self.folder.all if change.what.name.endswith("-wal")]
        changes = [change.what for log in logs if log for change in log.changes.all]
        return sum(isinstance(what, Written) and what.offset == 0 for what in changes)

    def cuts(self, count: int, seed: int) -> Iterator[Remains]:
        """Cut the power at random times; go through what each cut leaves."""
        random_ = random.Random(seed)
        for cut in sorted(random_.randrange(self.end) for _ in range(count)):
            yield self._cut(cut, random_)

    def _cut(self, cut: int, random_: random.Random) -> Remains:
        kept = random_.choice(KEPT)
        sure = self.folder.durable_at(cut)
        begun = sum(change.begin < cut for change in self.folder.all)
        names: dict[str, File] = {}
        for change in self.folder.all[: random_.randint(sure, max(sure, begun))]:
            if change.what.file is None:
                del names[change.what.name]
            else:
                names[change.what.name] = change.what.file
        files = {name: file.after(cut, lambda: random_.random() < kept) for name, file in names.items()}
        return Remains(files, [line for begin, line in self.acknowledged if begin < cut])


def record(function: Callable[..., object], path: Path, *arguments: Any) -> Recording:
    """Run a program on a store at `path`, in a folder of its own, and record what it does to its files."""
    log = path.parent.with_suffix(".strace")
    recording = Recording(trace(function, path, *arguments, log=log, calls=TRACED, bytes_shown=200_000), path.parent)
    log.unlink()
    return recording
