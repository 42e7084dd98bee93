"""What `benches.paired` times, in a process whose Python has one build installed and nothing else.

A row is an iterator of calls to time. What a call needs is made before it is handed out, and what a write leaves to the
background is over by then, so that none of it falls into the other build's time. A row may only use what both commits
have.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benches import rows
from benches.files import RUNS, add_items, add_runs
from benches.items import MADE_UP, Item, make_items
from benches.timing import settle

if TYPE_CHECKING:
    from orchestrator.state_store import StateStore

Works = Generator[Callable[[], object], None, None]

RUN = "run"
WARM_UP = 3_500
"""Upserts that fill the log, so that it is reused."""
LARGE_RUNS = 20
PROGRAM = f"""
import {rows.IMPORTED_ANYWAY}
from orchestrator.state_store import StateStore
import sys
with StateStore(sys.argv[1]) as store:
    store.start_run("run", "bench", {{}})
"""
RUN_FILTERS: tuple[dict[str, Any], ...] = ({}, {"run_type": "type-1"}, {"status": "failed"}, {"run_type": "rare"})
ITEM_FILTERS: tuple[dict[str, Any], ...] = ({}, {"run_id": "run-7"}, {"item_type": "release"}, {"undecided": True})
OVER_80 = {"scores_json.total": (">", 80)}


@dataclass(frozen=True)
class Row:
    """How to make the works of a row, and how many calls a work is."""

    works: Callable[[Path], Works]
    calls: int = 1
    large: bool = False


def open_store(path: Path, synchronous: Any = "FULL") -> StateStore:
    from orchestrator.state_store import StateStore

    return StateStore(path, synchronous=synchronous)


@contextmanager
def new_store(folder: Path, synchronous: str = "FULL", items: int = 0) -> Iterator[StateStore]:
    """Open a new file with a run in it, and delete it at the end."""
    path = folder / "bench.db"
    try:
        with open_store(path, synchronous) as store:
            store.start_run(RUN, "bench", {})
            if items:
                store.upsert_intel_items_batch(make_items(MADE_UP, RUN, items))
                store.checkpoint()
            yield store
    finally:
        path.unlink()


@functools.cache
def items_of(run_id: str) -> list[Item]:
    return make_items(MADE_UP, run_id)


def batch_new(folder: Path) -> Works:
    while True:
        with new_store(folder) as store:
            yield partial(store.upsert_intel_items_batch, make_items(MADE_UP, RUN))


def new_and_at_once(then: Callable[[StateStore], object]) -> Row:
    """Write a batch and at once do something with it: its log is as large as the batch leaves it."""

    def write(store: StateStore, items: list[Item]) -> None:
        store.upsert_intel_items_batch(items)
        then(store)

    def works(folder: Path) -> Works:
        while True:
            with new_store(folder) as store:
                yield partial(write, store, make_items(MADE_UP, RUN))

    return Row(works)


def batch_changed(folder: Path) -> Works:
    with new_store(folder, items=10_000) as store:
        for revision in itertools.count(1):
            yield partial(store.upsert_intel_items_batch, make_items(MADE_UP, RUN, revision=revision))
            store.checkpoint()


def upsert_each(store: StateStore, items: list[Item]) -> None:
    for item in items:
        store.upsert_intel_item(item)


def upsert_by_tens(store: StateStore, items: list[Item]) -> None:
    for first in range(0, len(items), 10):
        with store.transaction():
            upsert_each(store, items[first : first + 10])


def upsert_by_threads(store: StateStore, items: list[Item]) -> None:
    for done in [threads().submit(upsert_each, store, items[share::8]) for share in range(8)]:
        done.result()


@functools.cache
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8)


def start_and_finish(store: StateStore, items: list[Item]) -> None:
    for item in items:
        store.start_run(item["item_id"], "bench", {})
        store.finish_run(item["item_id"], "completed")


def writes(write: Callable[[StateStore, list[Item]], None], items: int, synchronous: str, calls: int = 0) -> Row:
    """Write so many new items each time, once the log is reused."""

    def works(folder: Path) -> Works:
        with new_store(folder, synchronous) as store:
            upsert_each(store, make_items(MADE_UP, RUN, WARM_UP))
            for first in itertools.count(WARM_UP, items):
                settle()
                yield partial(write, store, make_items(MADE_UP, RUN, items, first=first))

    return Row(works, calls or items)


def singles_in_a_new_file(folder: Path) -> Works:
    while True:
        with new_store(folder) as store:
            yield partial(upsert_each, store, make_items(MADE_UP, RUN, 300))


def prune(folder: Path) -> Works:
    with new_store(folder) as store:
        while True:
            for run_id in [f"run-{number}" for number in range(10)]:
                store.start_run(run_id, "bench", {})
                store.upsert_intel_items_batch(make_items(MADE_UP, run_id, 500))
                store.finish_run(run_id, "completed")
            settle()
            yield partial(store.prune, keep_last=0)


def process(folder: Path) -> Works:
    paths = [str(folder / f"{number}.db") for number in range(2)]
    while True:
        yield lambda: [subprocess.run([sys.executable, "-I", "-c", PROGRAM, path], check=True) for path in paths]
        for path in paths:
            Path(path).unlink()


def fork(store: StateStore) -> None:
    for _ in range(20):
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
        store.get_run(RUN)


def again(work: Callable[[StateStore], object], calls: int = 1) -> Row:
    """Do the same each time, on a file of 10,000 items."""

    def works(folder: Path) -> Works:
        with new_store(folder, items=10_000) as store:
            while True:
                yield partial(work, store)

    return Row(works, calls)


def reads(calls: int, read: Callable[[StateStore, int], object], file: str = "items.db") -> Row:
    """Call `read` with 0, 1, 2 ... on a large file."""

    def works(folder: Path) -> Works:
        with open_store(folder.parent / file) as store:
            while True:
                yield lambda: [read(store, number) for number in range(calls)]

    return Row(works, calls, large=True)


ROWS = {
    rows.BATCH_NEW: Row(batch_new),
    rows.BATCH_AGAIN_SETTLED: again(lambda store: store.upsert_intel_items_batch(items_of(RUN))),
    "batch of 10,000, and at once the same again": new_and_at_once(
        lambda store: store.upsert_intel_items_batch(items_of(RUN))
    ),
    "batch of 10,000, and at once the list": new_and_at_once(lambda store: store.list_intel_items_for_run(RUN)),
    rows.BATCH_CHANGED: Row(batch_changed),
    rows.LIST: again(lambda store: store.list_intel_items_for_run(RUN)),
    rows.SINGLE_FULL: writes(upsert_each, 300, "FULL"),
    rows.SINGLE_NORMAL: writes(upsert_each, 1_000, "NORMAL"),
    rows.SINGLE_NEW_FILE: Row(singles_in_a_new_file, 300),
    rows.THREADS: writes(upsert_by_threads, 8 * 50, "FULL", calls=1),
    "transaction of 10 upserts, NORMAL": writes(upsert_by_tens, 1_000, "NORMAL", calls=100),
    "start_run and finish_run, NORMAL": writes(start_and_finish, 500, "NORMAL"),
    "prune 10 runs of 500 items": Row(prune),
    rows.PROCESS: Row(process, 2),
    "fork and wait with a store open, then a call": again(fork, 20),
    rows.GET_RUN: reads(3_000, lambda store, n: store.get_run(f"run-{n * 7919 % RUNS}"), "runs.db"),
    "list 50 of 30,000 runs": reads(200, lambda store, n: store.list_runs(limit=50, **RUN_FILTERS[n % 4]), "runs.db"),
    "count 30,000 runs": reads(200, lambda store, n: store.count_runs(**RUN_FILTERS[n % 4]), "runs.db"),
    "get one of 200,000 items": reads(
        2_000, lambda store, n: store.get_intel_item(items_of("run-7")[n * 7919 % 10_000]["item_id"])
    ),
    "list 50 of 200,000 items": reads(120, lambda store, n: store.list_intel_items(limit=50, **ITEM_FILTERS[n % 4])),
    "count the items of a run among 200,000": reads(
        60, lambda store, n: store.count_intel_items(run_id=f"run-{n % 20}")
    ),
    "count 200,000 items": reads(20, lambda store, _: store.count_intel_items()),
    rows.LIST_WHERE: reads(2, lambda store, n: store.list_intel_items(run_id=f"run-{n}", where=OVER_80)),
    "iterate over 10,000 items": again(lambda store: sum(1 for _ in store.iter_intel_items(run_id=RUN))),
}


def make_large_files(folder: str) -> None:
    """Make the files that every row of `reads` has a copy of, beside its own folder."""
    with open_store(Path(folder, "runs.db"), "NORMAL") as store:
        add_runs(store)
    with open_store(Path(folder, "items.db"), "NORMAL") as store:
        add_items(store, LARGE_RUNS)


def say_build() -> None:
    """Say which build this process has. It must be the one of its own environment."""
    import orchestrator.state_store
    from orchestrator.state_store import _core

    package, native = Path(str(orchestrator.state_store.__file__)).parent, Path(str(_core.__file__))
    if not (package.is_relative_to(sys.prefix) and native.is_relative_to(package)):
        raise SystemExit(f"{package}, with {native}, is not in {sys.prefix}")
    code = hashlib.sha256(b"".join(file.read_bytes() for file in [*sorted(package.rglob("*.py")), native]))
    print(f"code {code.hexdigest()[:16]} in {package}", flush=True)


def serve(name: str, folder: str) -> None:
    """Say which build this is; then, for each line that comes in, do one work of a row and say its seconds."""
    say_build()
    gc.disable()
    with tempfile.TemporaryDirectory(dir=folder) as own, closing(ROWS[name].works(Path(own))) as works:
        work = next(works)
        for _ in sys.stdin:
            start = perf_counter()
            result = work()
            seconds = perf_counter() - start
            del result
            work = next(works)
            print(seconds, flush=True)
