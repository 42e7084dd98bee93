"""A program that makes every call in a forked child, and says what the child had to import for that.

It imports next to nothing itself, so that nothing is there by accident.
"""

import decimal
import os
import sys
import uuid
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import orchestrator.state_store as package
from orchestrator.state_store import StateStore, copy_store, salvage


class Odd:
    """Nothing that could be stored."""


def item(**fields: object) -> dict[str, object]:
    """Return an item with `fields`."""
    return {"item_id": "a", "run_id": "run-1", "item_type": "note", "title": "t", "summary": "s", **fields}


def calls(store: StateStore, folder: str) -> Iterator[Callable[[], object]]:
    """Yield what every public method does when it is used rightly and wrongly, the last closing the store."""
    path = os.path.join(folder, "state.db")  # noqa: PTH118 - pathlib would be imported
    now = datetime.now(UTC)
    odd = [decimal.Decimal(1), uuid.UUID(int=1), now, Odd(), float("nan"), 2**70, "\ud800"]
    yield lambda: store.start_run("run-1", "daily", OrderedDict(a=[1.5, None, True, "é"]))
    yield lambda: store.start_run("run-1", "daily", {})
    yield lambda: store.start_run("run-1", "daily", {}, if_exists="return")
    yield lambda: store.start_run("run-1", "daily", {}, if_exists="replace")  # type: ignore[arg-type]
    yield lambda: store.start_run("run-2", "daily", {"deep": deep(2000)})
    for value in odd:
        yield lambda value=value: store.start_run("run-2", "daily", value)  # type: ignore[misc]
        yield lambda value=value: store.upsert_intel_item(item(claims_json=[value]))  # type: ignore[misc]
        yield lambda value=value: store.write_telemetry("run-1", {"value": value})  # type: ignore[misc]
        yield lambda value=value: store.merge_telemetry("run-1", {"value": value})  # type: ignore[misc]
        yield lambda value=value: store.connection.execute("SELECT ?", [value])  # type: ignore[misc]
        yield lambda value=value: store.list_intel_items(where={"claims_json": ("=", value)})  # type: ignore[misc]
    yield lambda: store.upsert_intel_item(UserDict(item()))
    yield lambda: store.upsert_intel_item({})
    yield lambda: store.upsert_intel_items_batch([item(item_id=f"{each}") for each in range(2000)])
    yield lambda: store.upsert_intel_items_batch([item(run_id="none")])
    yield lambda: store.get_intel_item("0")
    yield lambda: store.list_intel_items_for_run("run-1")
    yield lambda: store.list_intel_items(limit=2, since=now - timedelta(1), until=now.isoformat(), fields=["title"])
    yield lambda: store.list_intel_items(since=now.replace(tzinfo=None))
    yield lambda: store.list_intel_items(no_such=1)  # type: ignore[call-arg]
    yield lambda: store.list_intel_items(cursor="none")
    yield lambda: list(store.iter_intel_items(where={"scores_json.a[0]": (">", 1)}))
    yield lambda: store.count_intel_items(undecided=True, since=now)
    yield lambda: store.decide("0", "promote", "why")
    yield lambda: store.decide("none", "promote")
    yield lambda: store.decide_batch({"0": None, "1": ("block", "why")})
    yield lambda: store.delete_intel_item("1")
    yield lambda: store.delete_intel_item("none", force=1)  # type: ignore[arg-type]
    yield lambda: salvage(path, os.path.join(folder, "salvaged.db"))  # noqa: PTH118 - pathlib would be imported
    yield lambda: salvage(path, path)
    yield lambda: copy_store(path, os.path.join(folder, "copied.db"), progress=print_nothing)  # noqa: PTH118
    yield lambda: copy_store(path, path)
    yield lambda: store.get_run("run-1")
    yield lambda: store.list_runs(since=now - timedelta(1), status=["running"], limit=1)
    yield lambda: store.count_runs(until="soon")
    yield lambda: store.list_runs(order="oldest")
    yield lambda: store.list_intel_items(order="newest")
    yield lambda: store.iter_intel_items(order="best")  # type: ignore[arg-type]
    yield lambda: store.list_intel_items(order_by="scores_json.a", limit=2)
    yield lambda: list(store.iter_intel_items(order_by="scores_json.a"))
    yield lambda: store.list_intel_items(order_by="total")
    yield lambda: store.count_runs(run_id_prefix="run-")
    yield lambda: store.count_runs_by("status", since=now)
    yield lambda: store.count_runs_by("started_at")  # type: ignore[arg-type]
    yield lambda: store.count_intel_items_by("decision", since=now)
    yield lambda: store.count_intel_items_by("title")  # type: ignore[arg-type]
    yield lambda: store.heartbeat("run-1")
    yield lambda: store.get_telemetry("run-1")
    yield lambda: store.merge_telemetry("run-1", OrderedDict(a=1))
    yield lambda: store.list_telemetry([f"run-{each}" for each in range(1000)])
    yield lambda: store.list_telemetry("run-1")
    yield lambda: store.merge_telemetry("run-1", [])  # type: ignore[arg-type]
    yield lambda: store.recover_stale_runs(timedelta(0))
    yield lambda: store.finish_run("run-1", "completed")
    yield lambda: store.reopen_run("run-1")
    for error in (Odd, ValueError, KeyboardInterrupt, RecursionError):
        yield lambda error=error: block(store, error)  # type: ignore[misc]
    yield lambda: store.run("run-3", "daily", {}).record
    yield lambda: list(store.connection.execute("SELECT * FROM runs, telemetry, (SELECT x'00', 1.5)"))
    yield lambda: store.connection.execute("SELECT :a", {"a": 1}).fetchone()
    yield lambda: store.connection.execute("SELECT :a", UserDict(a=1)).fetchone()
    yield lambda: store.connection.execute("SELECT ?", range(1)).description
    for sql in ("SELEC", "DELETE FROM runs", "SELECT ?"):
        yield lambda sql=sql: store.connection.execute(sql)  # type: ignore[misc]
    yield lambda: store.check(stale_after=timedelta(1))
    yield store.checkpoint
    yield store.stats
    yield lambda: store.backup(path + ".copy", progress=print_nothing)
    yield lambda: store.backup(path)
    yield lambda: store.delete_run("run-1", force=True)
    yield lambda: store.prune(older_than=timedelta(1), keep_last=1)
    yield lambda: store.prune()
    yield lambda: store.vacuum(full=True)
    yield lambda: StateStore(path + ".other").close()
    yield lambda: StateStore(path, synchronous="no")  # type: ignore[arg-type]
    yield lambda: StateStore(os.path.join(path, "folder"))  # noqa: PTH118
    yield lambda: (store.db_path, repr(store), hash(store), [getattr(package, name) for name in package.__all__])
    # A second name of the file is warned of, and the file that is gone is an error of the block.
    yield lambda: os.link(path, path + ".name")
    yield lambda: store.start_run("run-8", "daily", {})
    yield lambda: store.get_run("run-8")
    yield lambda: os.unlink(path)  # noqa: PTH108
    yield lambda: store.start_run("run-9", "daily", {})
    yield lambda: store.__exit__(ValueError, ValueError(), None)
    yield store.stats


def deep(levels: int) -> object:
    """Return lists in lists."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def print_nothing(*_: object) -> None:
    """Take the progress of a backup."""


def block(store: StateStore, error: Callable[[], object]) -> None:
    """Leave the blocks of a run and of transactions by an exception."""
    with store.run(f"run-of-{error}", "daily", {}), store.transaction(), store.transaction():
        store.get_run("run-1")
        raised = error()
        if isinstance(raised, BaseException):
            raise raised


def main() -> None:
    """Print how many calls failed, and the modules that the child imported."""
    folder = sys.argv[1]
    store = StateStore(os.path.join(folder, "state.db"))  # noqa: PTH118
    pid = os.fork()
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    before = set(sys.modules)
    failed = 0
    for call in calls(store, folder):
        try:
            call()
        except BaseException:
            failed += 1
    print(failed, *sys.modules.keys() - before)


if __name__ == "__main__":
    main()
