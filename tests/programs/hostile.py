"""Opens files that somebody has tampered with."""

import collections
import faulthandler
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs.exits import item

HANG = 30.0
"""Seconds after which the use of one small file is taken to hang."""


def in_a_transaction(store: StateStore) -> None:
    """Write twice, all or nothing."""
    with store.transaction():
        store.upsert_intel_item(item("in a transaction"))
        store.write_telemetry("run-1", {"n": 1})


CALLS: list[Callable[[StateStore], object]] = [
    lambda store: store.list_intel_items_for_run("run-1"),
    lambda store: list(store.iter_intel_items()),
    lambda store: store.list_intel_items(order_by="scores_json.total", limit=2),
    lambda store: list(store.iter_intel_items(order_by="scores_json.total")),
    lambda store: list(store.iter_intel_items(run_id="run-1")),
    lambda store: store.get_intel_item("a"),
    lambda store: store.list_intel_items(item_type="note", limit=2),
    lambda store: store.list_intel_items(undecided=False, where={"scores_json.total": (">=", 80)}),
    lambda store: store.count_intel_items(),
    lambda store: store.count_intel_items(decision="promote"),
    lambda store: store.count_intel_items(where={"claims_json[0]": ("exists", True)}),
    lambda store: store.get_run("run-1"),
    lambda store: store.list_runs(),
    lambda store: store.list_runs(status=("running", "failed"), limit=1),
    lambda store: store.count_runs(),
    lambda store: store.count_runs(run_type="daily", status="running"),
    lambda store: store.get_telemetry("run-1"),
    lambda store: store.connection.execute("SELECT * FROM runs LEFT JOIN intel_items USING (run_id)").fetchall(),
    lambda store: store.connection.execute("PRAGMA integrity_check").fetchall(),
    lambda store: store.heartbeat("run-1"),
    lambda store: store.recover_stale_runs(1),
    lambda store: store.reopen_run("run-1"),
    lambda store: store.upsert_intel_item(item("new")),
    lambda store: store.decide("new", "promote"),
    lambda store: store.upsert_intel_items_batch({**item(f"{number:02}"), "title": "again"} for number in range(30)),
    in_a_transaction,
    lambda store: store.write_telemetry("run-1", {"n": 61}),
    lambda store: store.finish_run("run-1", "completed"),
    lambda store: store.start_run("run-2", "daily", {}),
    lambda store: store.list_intel_items_for_run("run-1"),
    lambda store: store.stats(),
    lambda store: store.check(),
    lambda store: store.prune(keep_last=0, dry_run=True),
    lambda store: store.delete_run("run-2", force=True),
    lambda store: store.prune(keep_last=0),
    lambda store: store.vacuum(),
    lambda store: store.checkpoint(),
]


def write_good(path: str) -> None:
    """Write a store whose file has all kinds of pages: interior, leaf, overflow, free."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {"limit": 10})
        store.upsert_intel_items_batch({**item(f"{number:02}"), "summary": "s" * 9000} for number in range(20))
        store.upsert_intel_items_batch({**item(f"{number:02}"), "summary": "s" * 300} for number in range(4, 60))
        store.write_telemetry("run-1", {"n": 60})


def damage(content: bytes, random_: random.Random) -> bytes:
    """Flip bits of a file, most often near its start, or cut it off."""
    if random_.random() < 0.2:
        return content[: random_.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(random_.choice([1, 1, 3, 20])):
        damaged[random_.randrange(random_.choice([100, 4096, len(damaged)]))] ^= 1 << random_.randrange(8)
    return bytes(damaged)


def name_of(error: Exception) -> str:
    """Return the class of an error of ours; the whole error where it is of another kind, or of no kind."""
    known = isinstance(error, StateStoreError) and type(error) is not StateStoreError
    return type(error).__name__ if known else f"untyped: {error!r}"


def use(path: Path, **options: Any) -> list[str]:
    """Open a file, make every call and close it; return the errors that were raised, that of opening alone first."""
    errors: list[str] = []
    try:
        with StateStore(path, synchronous="NORMAL", busy_timeout=0.2, **options) as store:
            errors.append("")
            for call in CALLS:
                try:
                    call(store)
                except Exception as error:
                    errors.append(name_of(error))
    except Exception as error:
        errors.append(name_of(error))
    return errors


UNTOUCHED = {"NotADatabaseError", "ForeignDatabaseError", "SchemaTooNewError"}
"""What is not a store, or not one of this version, stays as it is."""


def use_damaged(good: str, folder: str, seed: int, count: int) -> dict[str, dict[str, int]]:
    """Use damaged copies of a file; return how often opening, and the calls on what was opened, raised which error.

    Each copy is a function of the seed and its number, and is there as long as it is used: one that kills the process
    is found in the folder.
    """
    opening: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    content = Path(good).read_bytes()
    for number in range(count):
        faulthandler.dump_traceback_later(HANG, exit=True)
        path = Path(folder) / f"{seed}-{number}.db"
        damaged = damage(content, random.Random(f"{seed}-{number}"))
        path.write_bytes(damaged)
        first, *rest = use(path, read_only=number % 2 == 0)
        opening[first] += 1
        calls.update(rest)
        assert first not in UNTOUCHED or path.read_bytes() == damaged, (path, first)
        assert not any("untyped" in error for error in (first, *rest)), (path, first, rest)
        for each in Path(folder).glob(f"{path.name}*"):
            each.unlink()
    faulthandler.cancel_dump_traceback_later()
    return {"opening": dict(opening), "calls": dict(calls)}
