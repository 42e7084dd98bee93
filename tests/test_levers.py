"""What makes the store fast is on, told by system calls, which noise cannot move.

Each program here runs in a process of its own, under strace; it says where it is by writing marks to /dev/null.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore

from tests.helpers import ROOT, TIMEOUT, in_process, in_threads, make_item

RUN_ID = "run-1"
BATCH = 10_000
CALLS = 6_000
THREADS, EACH = 8, 25
SINGLES = 20_000
LOG_LIMIT = 16 << 20
"""Bytes to which the log is cut back, and which it keeps to as long as the disk and the scheduler keep up."""

STARVED = 4
"""How many times that is still noise: without folding the log of these writes takes 400 MB."""

TRACED = "write,pwrite64,fdatasync,fsync,ftruncate"
SYNCS = ("fdatasync", "fsync")
TEXT = "The package lets an attacker do what only its owner may. " * 15


@dataclass(frozen=True)
class Event:
    """A system call that has ended, or a mark, which is a write to `null`; `text` is what comes after the file."""

    thread: int
    call: str
    file: str
    text: str


class Marks:
    """What a traced program says, seen by strace alone."""

    def __init__(self) -> None:
        self._null = os.open(os.devnull, os.O_WRONLY)

    def __call__(self, text: str) -> None:
        os.write(self._null, text.encode())


def items(count: int, prefix: str = "item") -> list[dict[str, Any]]:
    """Return items of about a kilobyte, no two alike."""
    return [make_item(f"{prefix}-{number}", summary=f"{number} {TEXT}") for number in range(count)]


def opened(path: str, **options: Any) -> StateStore:
    """Open a store with the run in it."""
    store = StateStore(path, **options)
    store.start_run(RUN_ID, "daily", {})
    return store


def write_in_every_way(path: str) -> None:
    """Call everything that writes, with a mark before and one after."""
    mark = Marks()
    with opened(path) as store:

        def transaction() -> None:
            with store.transaction():
                store.upsert_intel_item(make_item("inside"))

        calls: dict[str, Callable[[], object]] = {
            "start_run": lambda: store.start_run("run-2", "daily", {}),
            "upsert_intel_item": lambda: store.upsert_intel_item(make_item("single")),
            "small batch": lambda: store.upsert_intel_items_batch(items(10, "small")),
            "large batch": lambda: store.upsert_intel_items_batch(items(2_000, "large")),
            "write_telemetry": lambda: store.write_telemetry(RUN_ID, {}),
            "transaction": transaction,
            "finish_run": lambda: store.finish_run(RUN_ID, "completed"),
        }
        for name, call in calls.items():
            mark(f"call {name}")
            call()
            mark(f"return {name}")


def write_in_threads(path: str) -> None:
    """Upsert items one by one in some threads at once, with a mark before and one after each."""
    mark = Marks()
    with opened(path) as store:

        def write(thread: int) -> None:
            for number in range(EACH):
                mark(f"call {thread}-{number}")
                store.upsert_intel_item(make_item(f"{thread}-{number}"))
                mark(f"return {thread}-{number}")

        in_threads([partial(write, thread) for thread in range(THREADS)])


def write_much(path: str) -> None:
    """Write so many single items that the log is folded some times."""
    mark = Marks()
    with opened(path, synchronous="NORMAL") as store:
        mark("begin")
        for item in items(CALLS):
            store.upsert_intel_item(item)
        mark("end")


def write_a_batch(path: str) -> None:
    """Write a large batch of new items, then the same again."""
    mark, batch = Marks(), items(BATCH)
    with opened(path) as store:
        mark("call new")
        store.upsert_intel_items_batch(batch)
        mark("return new")
        mark("call again")
        store.upsert_intel_items_batch(batch)
        mark("return again")


def write_a_batch_and_commit_later(path: str) -> None:
    """Write a large batch inside a transaction."""
    mark, batch = Marks(), items(BATCH)
    with opened(path) as store:
        with store.transaction():
            mark("call batch")
            store.upsert_intel_items_batch(batch)
            mark("return batch")
            mark("call commit")
        mark("return commit")


def write_under_readers(path: str) -> list[int]:
    """Write many single items while others read; return the bytes of log after each, the fewest first."""
    log, sizes, done = Path(f"{path}-wal"), [], threading.Event()
    with opened(path, synchronous="NORMAL") as store:

        def read() -> None:
            while not done.is_set():
                store.connection.execute("SELECT count(*) FROM runs").fetchone()
                store.connection.execute("SELECT summary FROM intel_items LIMIT 50").fetchall()

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(SINGLES):
            store.upsert_intel_item(make_item(f"{number}", summary=TEXT))
            sizes.append(log.stat().st_size)
        done.set()
        for reader in readers:
            reader.join()
    return sorted(sizes)


def traced(function: Callable[[str], None], path: Path) -> list[Event]:
    """Run one of the programs above under strace; return its system calls, in the order in which they ended."""
    strace = shutil.which("strace")
    assert strace, "this test needs strace: apt-get install strace"
    log = path.with_suffix(".strace")
    tracer = [strace, "-f", "--seccomp-bpf", "-y", "-s", "80", "-e", f"trace={TRACED}", "-e", "signal=none"]
    program = [sys.executable, "-m", "tests.programs", function.__module__, function.__name__, json.dumps([str(path)])]
    subprocess.run([*tracer, "-o", log, *program], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)
    return list(parse(log.read_text(encoding="utf-8", errors="replace")))


def parse(log: str) -> Iterator[Event]:
    """Go through what strace has written. A call that others have come between is told at its end."""
    begun: dict[int, str] = {}
    for line in log.splitlines():
        thread, _, rest = line.partition(" ")
        text = rest.strip()
        if text.endswith("<unfinished ...>"):
            begun[int(thread)] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(int(thread)) + text[resumed.end() :]
        if found := re.match(r"(\w+)\(\d+<([^>]*)>(.*)", text):
            argument = re.match(r', "?([^",)]*)', found[3])
            yield Event(int(thread), found[1], Path(found[2]).name, argument[1] if argument else "")


def span(events: list[Event], start: str, end: str) -> list[Event]:
    """Return what happened between two marks."""
    texts = [event.text if event.file == "null" else "" for event in events]
    return events[texts.index(start) + 1 : texts.index(end)]


def calls(events: list[Event], file: str, *names: str) -> list[Event]:
    """Return the calls by these names on a file."""
    return [event for event in events if event.file == file and event.call in names]


def returned(events: list[Event]) -> list[str]:
    """Return the names of the calls that returned."""
    marks = [event.text for event in events if event.file == "null"]
    return [text.removeprefix("return ") for text in marks if text.startswith("return ")]


def test_every_acknowledged_write_was_synced_between_its_call_and_its_return(path: Path) -> None:
    events = traced(write_in_every_way, path)
    names = returned(events)
    assert len(names) == 7
    syncs = {name: calls(span(events, f"call {name}", f"return {name}"), "state.db-wal", *SYNCS) for name in names}
    assert [name for name in names if not syncs[name]] == []


def test_threads_share_syncs_and_each_has_one_before_its_return(path: Path) -> None:
    events = traced(write_in_threads, path)
    names = returned(events)
    assert len(names) == THREADS * EACH
    for name in names:
        assert calls(span(events, f"call {name}", f"return {name}"), "state.db-wal", *SYNCS), name
    first, *_, last = (index for index, event in enumerate(events) if event.file == "null")
    assert len(calls(events[first:last], "state.db-wal", *SYNCS)) <= 0.6 * len(names)


def test_checkpoints_are_not_made_by_those_who_commit(path_in_memory: Path) -> None:
    events = span(traced(write_much, path_in_memory), "begin", "end")
    committing = {event.thread for event in calls(events, "state.db-wal", "pwrite64")}
    folding = {event.thread for event in calls(events, "state.db", "pwrite64")}
    assert committing
    assert folding, "the log was never folded"
    assert committing & folding == set()


def test_log_is_written_over_and_not_cut_off_each_time(path_in_memory: Path) -> None:
    events = span(traced(write_much, path_in_memory), "begin", "end")
    assert calls(events, "state.db", "pwrite64"), "the log was never folded"
    cut = [int(event.text) for event in calls(events, "state.db-wal", "ftruncate")]
    assert [size for size in cut if size < LOG_LIMIT] == [], "a log that outgrew its limit is cut back to it, no more"


def test_commit_of_one_item_goes_to_the_log_in_one_call(path: Path) -> None:
    events = span(traced(write_much, path), "begin", "end")
    assert len(calls(events, "state.db-wal", "pwrite64")) <= 1.2 * CALLS


def test_batch_does_not_spill_before_it_commits(path: Path) -> None:
    events = traced(write_a_batch_and_commit_later, path)
    assert calls(span(events, "call batch", "return batch"), "state.db-wal", "pwrite64") == []
    assert calls(span(events, "call commit", "return commit"), "state.db-wal", "pwrite64")


def test_large_batch_is_encoded_by_one_thread_and_written_by_another(path: Path) -> None:
    events = traced(write_a_batch, path)
    [caller] = {event.thread for event in events if event.file == "null"}
    writing = {event.thread for event in calls(span(events, "call new", "return new"), "state.db-wal", "pwrite64")}
    assert writing
    assert caller not in writing


def test_unchanged_items_are_not_written(path: Path) -> None:
    events = traced(write_a_batch, path)
    assert calls(span(events, "call again", "return again"), "state.db-wal", "pwrite64") == []


def test_log_stays_bounded_under_writers_and_readers(path_in_memory: Path) -> None:
    sizes = in_process(write_under_readers, str(path_in_memory))
    assert 0 < sizes[len(sizes) // 2] <= LOG_LIMIT
    assert sizes[-1] <= STARVED * LOG_LIMIT


def test_listing_of_a_run_needs_no_sorter(store: StateStore) -> None:
    source = re.sub(r"\s+", " ", (ROOT / "src" / "intel_items.rs").read_text(encoding="utf-8"))
    [listing] = set(re.findall(r"FROM intel_items WHERE run_id = \? ORDER BY [a-z_, ]+", source))
    plan = [row["detail"] for row in store.connection.execute(f"EXPLAIN QUERY PLAN SELECT * {listing}", [RUN_ID])]
    assert plan == ["SEARCH intel_items USING INDEX idx_intel_items_run_id (run_id=?)"]
