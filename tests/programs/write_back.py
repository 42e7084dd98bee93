"""Programs that write, and have the log checkpointed, while the disk fails now and then."""

import contextlib
import itertools
import os
import threading
from pathlib import Path
from typing import Any, Literal

from orchestrator.state_store import RunExistsError, StateStore, StateStoreError, StorageIOError

from tests.programs import hear, say
from tests.programs.exits import item

BATCH = 50
SUMMARY = "The package lets an attacker do what only its owner may. " * 55
EVERY = 20
"""Batches of which the log is some MiB."""
ATTEMPTS = 5
MOST = 300
"""Batches that are more than a disk takes that has no room."""
BOUND = 62 << 20
"""Bytes of log that are more than it may come to on a disk that fails, the last batch included."""


def batch(name: str) -> list[dict[str, Any]]:
    """Return items that belong together."""
    return [{**item(f"{name}.{part}"), "summary": SUMMARY} for part in range(BATCH)]


class Writer:
    """Writes batches, again if they fail, and says which were acknowledged."""

    def __init__(self, path: str, name: str, synchronous: Literal["FULL", "NORMAL"], busy_timeout: float = 5) -> None:
        self.path, self.name, self.synchronous, self.busy_timeout = path, name, synchronous, busy_timeout
        self.errors: list[str] = []
        self.acknowledged: list[str] = []
        self.failed_syncs = 0
        self.open()

    def open(self) -> None:
        self.store = StateStore(self.path, synchronous=self.synchronous, busy_timeout=self.busy_timeout)
        self.before = 0

    def attempt(self, call: Any, *arguments: Any) -> bool:
        """Call until it works."""
        for _ in range(ATTEMPTS):
            try:
                call(*arguments)
            except StateStoreError as error:
                self.errors.append(type(error).__name__)
            else:
                return True
        return False

    def write(self, number: int) -> bool:
        """Write one batch; say so when it is acknowledged."""
        name = f"{self.name}-{number}"
        if not self.attempt(self.store.upsert_intel_items_batch, batch(name)):
            return False
        self.acknowledged.append(name)
        say(name)
        if number % EVERY == 0:
            self.count()
        return True

    def count(self) -> None:
        """Take down how many syncs have failed."""
        failed = self.store.stats().failed_syncs
        self.failed_syncs += failed - self.before
        self.before = failed

    def reopen(self) -> None:
        """Close, as the last one or not, and go on."""
        self.count()
        self.store.close()
        self.open()


class Reader:
    """Somebody who reads what was there when it began, until it ends: what came later is not checkpointed meanwhile."""

    def __init__(self, writer: Writer) -> None:
        self._reading, self._end = threading.Event(), threading.Event()
        copy = Path(writer.path).with_name(f"{writer.name}.copy")
        self._thread = threading.Thread(target=self._read, args=(writer.store, copy))
        self._thread.start()
        assert self._reading.wait(60)

    def _read(self, store: StateStore, copy: Path) -> None:
        with contextlib.suppress(EOFError):
            store.backup(copy, progress=self._wait)

    def _wait(self, *_: object) -> None:
        self._reading.set()
        self._end.wait()
        raise EOFError

    def end(self) -> None:
        self._end.set()
        self._thread.join()


def write(path: str, name: str, batches: int, how: str) -> dict[str, Any]:
    """Write, while the log is checkpointed in one way or another, and end without closing."""
    writer = Writer(path, name, "FULL")
    writer.attempt(writer.store.start_run, "run-1", "daily", {})
    say("ready")
    hear()
    reader = Reader(writer) if how == "partial" else None
    impatient = Writer(path, name, "FULL", busy_timeout=0.05) if reader else writer
    for number in range(batches):
        writer.write(number)
        if number % EVERY == EVERY - 1:
            if how == "complete":
                writer.attempt(writer.store.checkpoint)
            elif how == "close":
                writer.reopen()
            elif reader:
                following = Reader(writer)
                reader.end()
                reader = following
                impatient.attempt(impatient.store.checkpoint)
    if reader:
        reader.end()
    if how in ("partial", "complete"):
        say("written")
        hear()
        writer.attempt(writer.store.checkpoint)
    both = {writer, impatient}
    for each in both:
        each.count()
    return {
        "failed": sum(each.failed_syncs for each in both),
        "errors": sorted({error for each in both for error in each.errors}),
    }


def write_and_leave(path: str, name: str, batches: int, how: str) -> None:
    """Do so, say what it came to, and end without closing."""
    say(repr(write(path, name, batches, how)))
    os._exit(0)


def go_on(path: str) -> None:
    """Write until the disk takes no more, twice; then until it does again."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    say("ready")
    hear()
    log, told = Path(f"{path}-wal"), ""
    for number in range(1000):
        try:
            store.upsert_intel_items_batch(batch(f"{number}"))
        except StorageIOError as error:
            told = str(error)
            break
        say(f"{number}")
        assert log.stat().st_size < BOUND
    size = log.stat().st_size
    for _ in range(3):
        try:
            store.upsert_intel_items_batch(batch("refused"))
        except StorageIOError:
            continue
        told = ""
    assert log.stat().st_size == size, "the log has grown"
    say(f"told {told}")
    say(f"failed {store.stats().failed_syncs}")
    say(f"found {[each.kind for each in store.check()]}")
    try:
        store.checkpoint()
    except StorageIOError as error:
        say(f"checkpoint {error}")
    hear()
    store.upsert_intel_items_batch(batch("after"))
    say("after")
    for number in range(2000, 2200):
        store.upsert_intel_items_batch(batch(f"{number}"))
        say(f"{number}")
        assert log.stat().st_size < BOUND
    say(f"complete {store.checkpoint().complete}")
    say(f"found {[each.kind for each in store.check()]}")
    os._exit(0)


def commit_and_die(path: str) -> None:
    """Write when told to, say whether that was acknowledged, and die."""
    store = StateStore(path)
    with contextlib.suppress(RunExistsError):
        store.start_run("run-1", "daily", {})
    say("ready")
    name = hear()
    try:
        store.upsert_intel_items_batch(batch(name))
    except StateStoreError as error:
        say(type(error).__name__)
    else:
        say("done")
    os._exit(0)


def count_on_others(path: str) -> None:
    """Write twice, and checkpoint the log once other programs have checkpointed a part; twice, if the disk fails it."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    for name in ("first", "second"):
        store.upsert_intel_items_batch(batch(name))
        say(name)
        hear()
    for _ in range(2):
        try:
            say("complete" if store.checkpoint().complete else "busy")
        except StorageIOError as error:
            say(type(error).__name__)
    store.upsert_intel_items_batch(batch("third"))
    say("third")
    os._exit(0)


def checkpoint_parts(path: str) -> None:
    """Checkpoint a part of the log, as far as somebody who reads lets it be done; and then, when told to, one more."""
    writer = Writer(path, "items", "NORMAL", busy_timeout=0.05)
    writer.store.start_run("run-1", "daily", {})
    for number in range(10):
        writer.write(number)
    reader = Reader(writer)
    writer.write(10)
    assert not writer.store.checkpoint().complete
    for number in range(11, 20):
        writer.write(number)
    following = Reader(writer)
    reader.end()
    writer.write(20)
    say("checkpointed")
    hear()
    for _ in range(3):
        try:
            writer.store.checkpoint()
        except StorageIOError as error:
            say(str(error))
        else:
            say("checkpointed")
    following.end()
    os._exit(0)


def write_on_a_thin_disk(path: str, name: str, batches: int, first: int) -> None:
    """Write a part, another part once the disk is out of space and until that shows, and the rest once it has some."""
    writer = Writer(path, name, "FULL")
    writer.attempt(writer.store.start_run, "run-1", "daily", {})
    numbers = itertools.count()
    for number in itertools.islice(numbers, first):
        writer.write(number)
    say("waits")
    hear()
    for number in itertools.islice(numbers, MOST):
        writer.write(number)
        writer.count()
        if writer.failed_syncs:
            break
    for number in itertools.islice(numbers, 3):
        writer.write(number)
    say("waits")
    hear()
    while len(writer.acknowledged) < batches:
        writer.write(next(numbers))
    writer.count()
    say(repr({"failed": writer.failed_syncs, "errors": sorted(set(writer.errors))}))
    os._exit(0)
