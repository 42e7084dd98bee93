"""Calls where the system gives no thread, or no descriptor, any more."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.exits import item

LONG_QUERY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT sum(i) FROM n"


def calls(store: StateStore, folder: Path, name: str) -> dict[str, Callable[[], object]]:
    """Return calls of each kind that starts a thread, opens a file, or imports something late."""
    batch = [item(f"{name}-{index}") for index in range(1000)]
    return {
        "upsert": lambda: store.upsert_intel_item(item(name)),
        "batch": lambda: store.upsert_intel_items_batch(batch),
        "list": store.list_intel_items,
        "where": lambda: store.list_intel_items(where={"claims_json[0]": (">", 1)}),
        "count": lambda: store.count_intel_items(since="2024-01-01T00:00:00+00:00"),
        "check": lambda: store.check(stale_after=timedelta(days=1)),
        "backup": lambda: store.backup(folder / f"{name}.copy"),
        "checkpoint": store.checkpoint,
        "vacuum": lambda: store.vacuum(full=True),
        "query": lambda: store.connection.execute(LONG_QUERY).fetchall(),
        "recover": lambda: store.recover_stale_runs(timedelta(days=1)),
        "prune": lambda: store.prune(keep_last=9),
        "stats": store.stats,
        "run": lambda: store.run(f"run-{name}", "t", {}).__enter__().__exit__(None, None, None),
        "wrong": lambda: store.upsert_intel_item({}),
        "open": lambda: StateStore(folder / "state.db").close(),
        "open new": lambda: StateStore(folder / f"{name}.new").close(),
    }


def outcomes(store: StateStore, folder: Path, name: str) -> dict[str, str]:
    """Make each call; say by which error of the store's it failed, or "" where it did not. Other errors are raised."""
    failed = dict.fromkeys(made := calls(store, folder, name), "")
    for call in made:
        try:
            made[call]()
        except StateStoreError as error:
            failed[call] = type(error).__name__
    return failed


def without_threads(path: str) -> dict[str, dict[str, str]]:
    """Make each call where no thread can be started, and once it can again."""
    folder = Path(path).parent
    with StateStore(path) as store:
        store.start_run("run-1", "t", {})
        store.upsert_intel_items_batch([item(f"{index}") for index in range(1000)])
        say("ready")
        hear()
        without = outcomes(store, folder, "without")
        say("done")
        hear()
        return {"without": without, "after": outcomes(store, folder, "after")}


def log_without_threads(path: str) -> list[int]:
    """Write much, where there can be no thread that checkpoints; return how large the log was after each write."""
    sizes = []
    with StateStore(path, synchronous="NORMAL") as store:
        store.start_run("run-1", "t", {})
        batch = [{**item(f"{index}"), "summary": "s" * 10_000} for index in range(500)]
        for round_ in range(30):
            store.upsert_intel_items_batch([{**each, "title": f"{round_}"} for each in batch])
            sizes.append(Path(f"{path}-wal").stat().st_size)
    return sizes


@contextlib.contextmanager
def all_descriptors_but(spare: int) -> Iterator[None]:
    """Let so many files be opened, and no more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(spare):
            os.close(held.pop())
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def without_descriptors(path: str, spare: int) -> dict[str, dict[str, str]]:
    """Make each call where so many descriptors are left, each the first of its kind, and once there are more again."""
    folder = Path(path).parent
    with StateStore(path, busy_timeout=2) as store:
        store.start_run("run-1", "t", {})
        store.upsert_intel_item(item("first"))
        with all_descriptors_but(spare):
            without = outcomes(store, folder, "without")
        return {"without": without, "after": outcomes(store, folder, "after")}
