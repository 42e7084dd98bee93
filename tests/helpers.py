"""What the tests share: items to write, other processes to run, and plain `sqlite3` kept out of this process.

Never open a store's file with `sqlite3`, nor with `open()`, in a process that has a store open on it: closing it drops
the store's file locks. `plain_sqlite` does it in a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import pytest
from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import plain

P = ParamSpec("P")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 90.0
"""Seconds after which something that should have ended is taken to hang."""

ITEM_KEYS = {
    "item_id",
    "run_id",
    "item_type",
    "title",
    "summary",
    "claims_json",
    "evidence_json",
    "scores_json",
    "risk_flags_json",
    "explainability_json",
    "decision",
    "decision_reason",
    "created_at",
}
JSON_FIELDS = ("claims_json", "evidence_json", "scores_json", "risk_flags_json", "explainability_json")
REQUIRED_FIELDS = ("item_id", "run_id", "item_type", "title", "summary")


JSON_ERRORS = (TypeError, RecursionError, ValueError)
"""What `json.dumps` raises."""


class Boom(Exception):
    """An error of the caller's own."""


def make_item(item_id: str = "item-1", run_id: str = "run-1", **fields: Any) -> dict[str, Any]:
    """Return an item with the required fields, and `fields` over them."""
    return {"item_id": item_id, "run_id": run_id, "item_type": "note", "title": "t", "summary": "s", **fields}


def item_ids(store: StateStore, run_id: str = "run-1") -> list[str]:
    """Return the ids of a run's items, in the order of the list."""
    return [item["item_id"] for item in store.list_intel_items_for_run(run_id)]


def value(store: StateStore, sql: str, *parameters: Any) -> Any:
    """Return the first column of the only row of a query."""
    [row] = store.connection.execute(sql, parameters).fetchall()
    return row[0]


def put(store: StateStore, *names: str) -> None:
    """Upsert an item of each name."""
    for name in names:
        store.upsert_intel_item(make_item(name))


def assert_free(store: StateStore) -> None:
    """Check that no transaction is open: another thread can write, and what it wrote is committed."""
    in_thread(put, store, "free")
    assert in_thread(item_ids, store)[-1] == "free"


def table(store: StateStore, name: str) -> list[tuple[Any, ...]]:
    """Return a whole table, to see that nothing in it has changed."""
    return [tuple(row) for row in store.connection.execute(f"SELECT * FROM {name} ORDER BY rowid")]


def everything(store: StateStore) -> list[list[tuple[Any, ...]]]:
    """Return all three tables, to see that nothing has changed."""
    return [table(store, name) for name in ("runs", "intel_items", "telemetry")]


def stored(store: StateStore, content: Any) -> Any:
    """Write a value and read it back."""
    store.upsert_intel_item(make_item(claims_json=content))
    return store.list_intel_items_for_run("run-1")[0]["claims_json"]


def assert_parity(store: StateStore, content: Any, back: Callable[[StateStore, Any], Any] = stored) -> None:
    """Check one value, which `back` writes and reads, against the `json` module.

    `repr` tells apart what `==` does not: nan, -0.0, 1 and True.
    """
    try:
        text = json.dumps(content)
    except JSON_ERRORS as error:
        kind = next(kind for kind in JSON_ERRORS if isinstance(error, kind))
        with pytest.raises(kind) as caught:
            back(store, content)
        assert isinstance(caught.value, StateStoreError)
    else:
        assert repr(back(store, content)) == repr(json.loads(text))


def assert_sound(store: StateStore) -> None:
    """Check the file's structure and its references."""
    assert store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Return each file in a folder that no store in this process is open on."""
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def entries(folder: str) -> int:
    return len(list(Path(folder).iterdir()))


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    """Check that descriptors and native threads are back at the start. A thread that was joined may still be ending."""
    gc.collect()
    before = entries("/proc/self/fd"), entries("/proc/self/task")
    yield
    gc.collect()
    limit = time.monotonic() + TIMEOUT / 9
    while entries("/proc/self/task") > before[1] and time.monotonic() < limit:
        os.sched_yield()
    assert entries("/proc/self/fd") == before[0], "descriptors are left open"
    assert entries("/proc/self/task") <= before[1], "threads are left running"


def in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function in a thread of its own; return what it returns, or raise what it raises."""
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return future.result(TIMEOUT)


def in_threads(functions: Iterable[Callable[[], R]]) -> list[R]:
    """Run functions at the same time, a thread each; return what they return."""
    work = list(functions)
    barrier = threading.Barrier(len(work))

    def run(function: Callable[[], R]) -> R:
        barrier.wait(TIMEOUT)
        return function()

    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(TIMEOUT) for future in [pool.submit(run, function) for function in work]]


@contextlib.contextmanager
def held_transaction(store: StateStore, *items: Mapping[str, Any]) -> Iterator[None]:
    """Keep a transaction with these upserts open in another thread until the block ends; then roll it back."""
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.suppress(Boom), store.transaction():
            for item in items:
                store.upsert_intel_item(item)
            entered.set()
            assert release.wait(TIMEOUT)
            raise Boom

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        try:
            assert entered.wait(TIMEOUT), holder.result()
            yield
        finally:
            release.set()
        holder.result()


class Peer:
    """A function of `tests.programs` that runs in a process of its own, spoken to in lines."""

    def __init__(self, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        assert not kwargs
        command = ["-X", "faulthandler", "-m", "tests.programs", function.__module__, function.__name__]
        self.process = subprocess.Popen(
            [sys.executable, *command, json.dumps(args, default=os.fspath)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._limit = threading.Timer(TIMEOUT, self.kill)
        self._limit.daemon = True
        self._limit.start()

    def tell(self, line: str = "go") -> None:
        """Send a line to the program."""
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Return the program's next line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.process.wait(TIMEOUT)}"
        return line.rstrip("\n")

    def lines(self) -> Iterator[str]:
        """Go through the lines that the program still prints, until it ends."""
        assert self.process.stdout
        for line in self.process.stdout:
            yield line.rstrip("\n")

    def result(self) -> Any:
        """Wait for the program's end; return what its function returned."""
        lines = list(self.lines())
        assert self.process.wait(TIMEOUT) == 0, "the program failed, or was killed because it hung"
        return json.loads(lines[-1])

    def kill(self) -> None:
        """Kill the program, and what it has started, with SIGKILL."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._limit.cancel()
        self._limit.join()
        with self.process:
            pass


def in_process(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function of `tests.programs` in a process of its own; return what it returns, by way of JSON."""
    with Peer(function, *args, **kwargs) as peer:
        result: R = peer.result()
        return result


def plain_sqlite(path: Path, *statements: str | tuple[str, list[Any]]) -> list[list[Any]]:
    """Run statements with the standard library's `sqlite3` in another process; return the rows of the last."""
    pairs = [(each, []) if isinstance(each, str) else each for each in statements]
    return in_process(plain.run, str(path), pairs)
