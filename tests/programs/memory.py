"""Calls in which one allocation fails; see `tests/faults/memory.c`, which is to be preloaded."""

import ctypes
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from orchestrator.state_store import StateStore, TransactionDoomedError, salvage

RUST, SQLITE = 1, 2
LEAST = {RUST: 4096, SQLITE: 1}
"""From which size on allocations fail: Rust's own smaller ones abort, whatever they are for."""
ITEMS = 1_500
CLAIMS = [f"claim {index}" for index in range(600)]
TEXT = "tab\t" * 3_000
"""JSON has to escape it."""
SAME = "(SELECT group_concat(hex(zeroblob(20000))) FROM (SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4))"


class OddItem(dict[str, Any]):
    """An item that is no plain dict, so that a batch of them takes the other way."""


def item(name: str, **fields: Any) -> dict[str, Any]:
    """Return an item."""
    return {"item_id": name, "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s" * 100, **fields}


def documents(prefix: str) -> list[dict[str, Any]]:
    """Return items with large documents."""
    return [item(f"{prefix}-{index}", claims_json=CLAIMS, scores_json={"text": TEXT}) for index in range(20)]


def prepare(path: Path) -> None:
    """Make a file that has something for each scene."""
    with StateStore(path) as store:
        store.start_run("run-1", "t", {"list": CLAIMS})
        store.write_telemetry("run-1", {f"key {index}": CLAIMS[:9] for index in range(400)})
        for number in range(80):
            store.start_run(f"old-{number}", "t", {})
            store.finish_run(f"old-{number}", "done" if number % 2 else "failed")
        kinds = [{"item_type": f"type {index % 400}", "claims_json": [index]} for index in range(ITEMS)]
        store.upsert_intel_items_batch([item(f"{index}", **kind) for index, kind in enumerate(kinds)])
        store.upsert_intel_items_batch(documents("document"))
        store.decide_batch({f"{index}": ("kept", f"reason {index}") for index in range(300)})


def open_new(path: Path) -> list[int]:
    """Open a file that is not there yet, and one that is."""
    with StateStore(path.with_name("new")), StateStore(path) as store:
        return [store.stats().runs]


def upsert_large(store: StateStore) -> object:
    """Write a large document."""
    store.upsert_intel_item(item("large", summary=TEXT, claims_json=CLAIMS * 20, evidence_json=[TEXT * 9]))
    return None


def in_transaction(store: StateStore) -> object:
    """Write in a transaction, and in one inside of it."""
    with store.transaction():
        store.upsert_intel_items_batch(documents("outer"))
        with store.transaction():
            store.upsert_intel_items_batch(documents("inner"))
        return len(store.list_intel_items(item_type="note"))


def in_savepoints(store: StateStore) -> object:
    """Go on in a transaction after what has failed in it."""

    def inside() -> None:
        with store.transaction():
            store.upsert_intel_items_batch(documents("inside"))

    calls = {"batch": lambda: store.upsert_intel_items_batch(documents("batch")), "inside": inside}
    with store.transaction():
        store.upsert_intel_item(item("before"))
        for name, call in calls.items():
            try:
                call()
                there = True
            except MemoryError as error:
                there = False
                try:
                    store.get_intel_item("before")
                except TransactionDoomedError:
                    # SQLite has rolled back all of it.
                    raise error from None
            for index in (0, 19):
                assert (store.get_intel_item(f"{name}-{index}") is not None) == there, name
    return None


def in_run(store: StateStore) -> object:
    """Go through a run's whole life."""
    with store.run("run-2", "t", {"list": CLAIMS}) as run:
        store.write_telemetry(run.run_id, dict.fromkeys(CLAIMS, 1))
        store.merge_telemetry(run.run_id, dict.fromkeys(CLAIMS, 2))
    return None


def telemetry(store: StateStore) -> object:
    """Merge a document, and read all."""
    store.merge_telemetry("run-1", {f"other key {index}": CLAIMS[:9] for index in range(400)})
    return len(store.list_telemetry(["run-1", *(f"old-{number}" for number in range(80))]))


def query(store: StateStore) -> object:
    """Run queries of the user's own: short ones, and one that needs a thread."""
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT max(i), ? FROM n"
    rows = store.connection.execute("SELECT *, zeroblob(10000) FROM intel_items WHERE title = ?", ("t",)).fetchall()
    large = store.connection.execute(f"SELECT length(?), ?, {SAME}", (TEXT, TEXT.encode())).fetchone()
    ended = store.connection.execute("SELECT ?", (TEXT,)).fetchone(), store.connection.execute(slow, ("s",)).fetchone()
    return len(rows), len(large[1]), len(large[2]), [tuple(row) for row in ended]


def long_names(store: StateStore) -> object:
    """Ask for what has a long name."""
    path = f'claims_json."{TEXT}"'
    return [
        len(store.list_runs(run_id_prefix=TEXT, run_type=TEXT)),
        store.count_intel_items_by("run_id", run_id=TEXT, item_type=TEXT, decision=TEXT),
        len(store.list_intel_items(item_type=TEXT, decision=TEXT, limit=5)),
        len(store.list_intel_items(where={path: ("=", TEXT)}, order_by=path, limit=5)),
        len(store.list_intel_items_for_run(TEXT)),
        store.list_telemetry([TEXT]),
        store.prune(keep_last=5, run_type=TEXT, dry_run=True).runs,
        store.connection.execute(f'SELECT 1 AS "{TEXT}"').fetchone().keys(),
    ]


def many_names(store: StateStore) -> object:
    """Ask for any of many names."""
    names = [f"name {index}" for index in range(2_000)]
    return [
        len(store.list_runs(status=names)),
        len(store.list_runs(status=names[:256], limit=5)),
        store.count_runs(status=names),
        store.count_runs_by("run_type", status=names),
        len(store.list_telemetry(names)),
        store.prune(keep_last=1, status=[*names, "done"], dry_run=True).runs,
    ]


SCENES: dict[str, Callable[[StateStore], object]] = {
    "open": lambda store: open_new(store.db_path),
    "upsert": lambda store: store.upsert_intel_item(item("new", claims_json=[1])),
    "large": upsert_large,
    "batch": lambda store: store.upsert_intel_items_batch([item(f"new {index}") for index in range(2_000)]),
    "batch of rows": lambda store: store.upsert_intel_items_batch(
        [OddItem(item(f"new {index}")) for index in range(600)]
    ),
    "transaction": in_transaction,
    "savepoints": in_savepoints,
    "decide": lambda store: store.decide_batch({f"{index}": ("kept", "r" * 50) for index in range(600)}),
    "run": in_run,
    "telemetry": telemetry,
    "list": lambda store: store.list_intel_items(),
    "list where": lambda store: [
        store.list_intel_items(where={"scores_json.text": ("contains", "tab\t")}),
        store.list_intel_items(where={"claims_json[0]": ("in", list(range(2_000)))}, limit=10),
    ],
    "list by": lambda store: store.list_intel_items(order_by="claims_json[0]", limit=700),
    "iterate": lambda store: list(store.iter_intel_items(undecided=True)),
    "long names": long_names,
    "many names": many_names,
    "count": lambda store: [
        store.count_intel_items_by("item_type"),
        store.count_intel_items(where={"claims_json[0]": (">", 700)}),
        store.count_runs_by("status"),
        len(store.list_runs()),
    ],
    "query": query,
    "recover": lambda store: [run.run_id for run in store.recover_stale_runs(timedelta(microseconds=1))],
    "prune": lambda store: store.prune(keep_last=5),
    "check": lambda store: store.check(),
    "backup": lambda store: store.backup(store.db_path.with_name("copy")),
    "salvage": lambda store: salvage(store.db_path, store.db_path.with_name("salvaged")).kept,
    "vacuum": lambda store: [store.vacuum(full=True).reason, store.checkpoint().complete],
}


PARTLY = {"run", "prune"}
"""Scenes of several writes, of which a part may be done when one fails."""


class Allocations:
    """Makes them fail."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None)
        self.library.memory_seen.restype = ctypes.c_long
        assert self.library.memory_watch(b"/_core."), "the extension was not found"
        with StateStore(":memory:") as store:
            self.library.memory_learn(1)
            store.connection.execute(f"SELECT length({SAME})").fetchall()
            self.library.memory_learn(0)

    def fail(self, allocator: int, number: int) -> None:
        """Let one fail."""
        self.library.memory_fail(allocator, ctypes.c_long(number), ctypes.c_long(LEAST[allocator]))

    def stop(self) -> int:
        """Let none fail any more, and say how many there were."""
        seen = self.library.memory_seen()
        self.library.memory_fail(0, ctypes.c_long(0), ctypes.c_long(0))
        return int(seen)


def facts(store: StateStore) -> list[Any]:
    """Say what is in a store, but for times."""
    items = "count(*), sum(length(item_id || title || summary || claims_json || scores_json)), count(decision)"
    queries = (
        f"SELECT {items} FROM intel_items",
        "SELECT status, count(*) FROM runs GROUP BY status",
        "SELECT run_id, length(telemetry_json) FROM telemetry ORDER BY 1",
    )
    return [[list(row) for row in store.connection.execute(sql)] for sql in queries]


Outcome = dict[str, Any]


def attempt(path: Path, scene: str, allocations: Allocations, allocator: int, number: int) -> Outcome:
    """Play a scene in which this allocation fails, and see what became of the store."""
    with StateStore(path) as store:
        before = facts(store)
        allocations.fail(allocator, number)
        result, error = None, ""
        try:
            result = SCENES[scene](store)
        except BaseException as raised:
            error = "MemoryError" if isinstance(raised, MemoryError) else f"{type(raised).__name__}: {raised}"
            raised.__traceback__ = None
        seen = allocations.stop()
        after = facts(store)
        store.start_run("afterwards", "t", {})
        store.upsert_intel_item(item("afterwards", run_id="afterwards"))
        assert store.get_intel_item("afterwards")
        assert store.delete_run("afterwards", force=True).intel_items == 1
    with StateStore(path) as store:
        assert store.check() == []
        assert facts(store) == after
    return {"seen": seen, "error": error, "result": repr(result), "before": before, "after": after}


def in_fork(folder: Path, work: Callable[[Path], Outcome]) -> Outcome:
    """Do this in a child, on a copy of the files in `folder`."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place, tempfile.TemporaryFile() as told:
        copy = Path(place) / "files"
        shutil.copytree(folder, copy)
        child = os.fork()
        if child == 0:
            os.dup2(told.fileno(), 2)
            try:
                signal.alarm(60)
                outcome = work(copy / "state.db")
            except BaseException as error:
                outcome = {"error": f"afterwards {type(error).__name__}: {error}"}
            os.write(told.fileno(), b"\n" + json.dumps(outcome).encode())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        text = told.read().decode()
    if os.WIFSIGNALED(status):
        return {"error": f"signal {os.WTERMSIG(status)}: {text.strip()}"}
    lines = text.splitlines()
    assert status == 0, text
    outcome = json.loads(lines[-1])
    return {**outcome, "told": "\n".join(text.splitlines()[:-1]).strip()}


def make(folder: str) -> None:
    """Make the files that scenes are played with."""
    prepare(Path(folder) / "state.db")


def play(folder: str, scene: str, which: Literal["rust", "sqlite"], most: int) -> dict[str, Any]:
    """Play a scene once for each allocation that is to fail, at most so often, on copies of the files that were made.

    Say how many allocations there are, how often it ended how, and what is wrong.
    """
    allocator = {"rust": RUST, "sqlite": SQLITE}[which]
    files, allocations = Path(folder), Allocations()

    def without(number: int) -> Callable[[Path], Outcome]:
        return lambda path: attempt(path, scene, allocations, allocator, number)

    good = in_fork(files, without(0))
    assert good["error"] == "", good
    counts: dict[str, int] = {}
    wrong: list[str] = []
    numbers = range(1, good["seen"] + 1)
    for number in numbers[:: max(1, -(-len(numbers) // most))]:
        outcome = in_fork(files, without(number))
        error = outcome["error"]
        kind = error.partition(":")[0] or "success"
        counts[kind] = counts.get(kind, 0) + 1
        if error not in ("", "MemoryError"):
            wrong.append(f"{number}: {error}")
        elif error == "" and outcome["result"] != good["result"]:
            wrong.append(f"{number}: another result, {outcome['result'][:1000]}")
        elif error == "" and scene != "savepoints" and outcome["after"] != good["after"]:
            wrong.append(f"{number}: another state, {outcome['after']}")
        elif error and scene not in PARTLY and outcome["after"] not in (good["before"], good["after"]):
            wrong.append(f"{number}: something in between, {outcome['after']}")
        elif outcome["told"]:
            wrong.append(f"{number}: {outcome['told']}")
    return {"allocations": good["seen"], "counts": counts, "wrong": wrong}
