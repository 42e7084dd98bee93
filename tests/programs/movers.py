"""Programs whose file is moved, removed, replaced or linked while they have it open."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.exits import item
from tests.programs.readers import NOBODY

MOST = 20_000
"""Writes of a thread that ought to have been told long before."""
LONG = 20.0
"""Seconds of reads that ought to have been told long before."""
WITHIN = 1.0
"""Seconds that an opening may wait for somebody else."""
LARGE = 30_000
"""Items of a batch that is written in slices, while it is still being encoded."""


def told(call: Callable[[], object]) -> str:
    """Return what came of a call."""
    try:
        call()
    except StateStoreError as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def opened(path: str) -> StateStore:
    """Open a store with something in it."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.start_run("over", "daily", {})
    store.finish_run("over", "completed")
    store.start_run("stale", "daily", {})
    store.upsert_intel_item(item("before"))
    return store


def in_transaction(store: StateStore) -> None:
    """Write in a transaction."""
    with store.transaction():
        store.upsert_intel_item(item("after"))


def in_run(store: StateStore) -> None:
    """Do a run."""
    with store.run("run-2", "daily", {}):
        pass


def write_and_move(path: str) -> None:
    """Write, move the file, and write once more; say what came of both."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        say(told(lambda: store.upsert_intel_item(item("a"))))
        moved = Path(path).rename(f"{path}.old")
        say(told(lambda: store.upsert_intel_item(item("b"))))
        moved.rename(path)
        say(told(lambda: store.upsert_intel_item(item("c"))))


def write_in_every_way(path: str) -> dict[str, Any]:
    """Open, let the file be moved, and write by each call; return what came of it, and of the end."""
    store = opened(path)
    block = store.run("run-3", "daily", {})
    block.__enter__()
    inside = store.transaction()
    inside.__enter__()
    store.upsert_intel_items_batch([item(f"inside-{index}") for index in range(1000)])
    say()
    hear()
    came = {"transaction that was open": told(lambda: inside.__exit__(None, None, None))}
    calls: dict[str, Callable[[], object]] = {
        "start_run": lambda: store.start_run("after", "daily", {}),
        "finish_run": lambda: store.finish_run("run-1", "completed"),
        "upsert_intel_item": lambda: store.upsert_intel_item(item("after")),
        "upsert_intel_items_batch": lambda: store.upsert_intel_items_batch([item("after"), item("after-2")]),
        "large batch": lambda: store.upsert_intel_items_batch(item(f"after-{index}") for index in range(LARGE)),
        "decide": lambda: store.decide("before", "promote"),
        "decide_batch": lambda: store.decide_batch({"before": "promote"}),
        "write_telemetry": lambda: store.write_telemetry("run-1", {}),
        "heartbeat": lambda: store.heartbeat("run-1"),
        "recover_stale_runs": lambda: store.recover_stale_runs(timedelta(0)),
        "delete_run": lambda: store.delete_run("run-1", force=True),
        "prune": lambda: store.prune(older_than=timedelta(0)),
        "vacuum": lambda: store.vacuum(),
        "vacuum as a whole": lambda: store.vacuum(full=True),
        "checkpoint": lambda: store.checkpoint(),
        "backup": lambda: store.backup(f"{Path(path).parent}.copy", overwrite=True),
        "transaction": lambda: in_transaction(store),
        "run": lambda: in_run(store),
        "end of a run": lambda: block.__exit__(None, None, None),
    }
    came.update({name: told(call) for name, call in calls.items()})
    came["close"] = told(store.close)
    came["close again"] = told(store.close)
    return came


def write_until_told(path: str, threads: int) -> dict[str, Any]:
    """Write from several threads until each is told that the file moved; let it be moved back, and write again."""
    store = opened(path)
    lock = threading.Lock()
    acknowledged, errors = ["before"], []

    def write(writer: int) -> None:
        for index in range(MOST):
            names = [f"{writer}-{index}-{part}" for part in range(1 + writer % 3)]
            try:
                if writer % 2:
                    with store.transaction():
                        store.upsert_intel_items_batch(map(item, names))
                else:
                    store.upsert_intel_items_batch(map(item, names))
            except StateStoreError as error:
                with lock:
                    errors.append(f"{type(error).__name__}: {error}")
                return
            with lock:
                acknowledged.extend(names)
            if (writer, index) == (0, 20):
                say()

    workers = [threading.Thread(target=write, args=(writer,)) for writer in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    say("told")
    hear()
    store.upsert_intel_item(item("back"))
    acknowledged.append("back")
    store.close()
    return {"acknowledged": acknowledged, "errors": errors}


def write_and_die(path: str) -> None:
    """Write what is in the log only, and wait to be killed."""
    store = opened(path)
    say()
    hear()
    store.close()


def recreate(path: str) -> None:
    """Be the other program that makes a new file in its place, and goes on using it."""
    store = StateStore(path)
    store.start_run("other", "daily", {})
    say()
    hear()
    store.close()


def open_while_forking(path: str) -> list[str]:
    """Open the store with a busy timeout, and fork meanwhile; say what came of it, and whether any fork took longer."""
    came: list[str] = []
    opener = threading.Thread(target=lambda: came.append(told(lambda: StateStore(path, busy_timeout=WITHIN).close())))
    opener.start()
    longest = 0.0
    while opener.is_alive():
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(0)
        longest = max(longest, time.monotonic() - began)
        os.waitpid(child, 0)
    return [*came, "late" if longest >= WITHIN else "in time"]


def read_until_told(path: str, readers: int, read_only: bool) -> dict[str, Any]:
    """Read while the file is being replaced, until each reader is told; return all that was read meanwhile."""
    if read_only:
        opened(path).close()
        store = StateStore(path, read_only=True, pool_size=readers)
    else:
        store = opened(path)
    store.count_runs()
    say()
    hear()
    seen: set[str] = set()
    errors: list[str] = []

    def look() -> None:
        try:
            until = time.monotonic() + LONG
            while time.monotonic() < until:
                seen.update(run.run_id for run in store.list_runs())
        except StateStoreError as error:
            errors.append(f"{type(error).__name__}: {error}")

    workers = [threading.Thread(target=look) for _ in range(readers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"seen": sorted(seen), "errors": errors, "close": told(store.close)}


def write_with_the_folder_shut(path: str) -> list[str]:
    """Open as a user without privileges, and write once the folder lets nobody in."""
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(item("imports"))
    if os.geteuid() == 0:
        os.chown(Path(path).parent, NOBODY, NOBODY)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with opened(path) as store:
        Path(path).parent.chmod(0)
        came = [told(lambda: store.upsert_intel_item(item("after")))]
        Path(path).parent.chmod(0o755)
    return came


def fork_beside_a_move(path: str) -> list[str]:
    """Fork, let the file be replaced, and write in the child."""
    store = opened(path)
    ours, its = os.pipe()
    child = os.fork()
    if child == 0:
        say()
        hear()
        came = [told(lambda: store.upsert_intel_item(item("after"))), told(store.count_runs), told(store.close)]
        os.write(its, "\n".join(came).encode())
        os._exit(0)
    os.close(its)
    with os.fdopen(ours) as pipe:
        came = pipe.read().split("\n")
    os.waitpid(child, 0)
    return [*came, told(store.close)]


def _each_write(store: StateStore) -> Iterator[Callable[[], object]]:
    for index in range(5):
        yield lambda index=index: store.upsert_intel_item(item(f"after-{index}"))  # type: ignore[misc]


def write_beside_a_new_name(path: str, action: str) -> dict[str, Any]:
    """Write while the file gets a second name; return what was acknowledged, and what was warned of, by call."""
    warnings.simplefilter(action)  # type: ignore[arg-type]
    store = opened(path)
    say()
    hear()
    acknowledged, warned = [], []
    for index, call in enumerate(_each_write(store)):
        with warnings.catch_warnings(record=action == "always") as caught:
            try:
                call()
            except Warning as error:
                warned.append([index, type(error).__name__, str(error)])
            else:
                acknowledged.append(f"after-{index}")
        warned += [[index, each.category.__name__, str(each.message)] for each in caught or ()]
    stats, findings = store.stats().hard_links, [[each.kind, each.message] for each in store.check()]
    store.close()
    return {"acknowledged": acknowledged, "warned": warned, "names": stats, "findings": findings}


def close_beside_a_new_name(path: str) -> list[Any]:
    """Write once beside a second name, with warnings made errors, and close; say whether it is closed."""
    warnings.simplefilter("error")
    store = opened(path)
    say()
    hear()
    store.upsert_intel_item(item("after"))
    try:
        store.close()
    except Warning as error:
        return [type(error).__name__, told(store.count_runs)]
    return ["nothing"]


def open_and_tell(path: str, read_only: bool) -> list[str]:
    """Open; return what was raised or warned of, and what is there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with StateStore(path, read_only=read_only) as store:
                came = [",".join(sorted(each["item_id"] for each in store.list_intel_items_for_run("run-1")))]
        except StateStoreError as error:
            came = [f"{type(error).__name__}: {error}"]
    return [*came, *(f"{each.category.__name__}: {each.message}" for each in caught)]
