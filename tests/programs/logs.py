"""Programs that write so much that the log is checkpointed meanwhile."""

import os
import threading
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.programs import hear, say
from tests.programs.exits import item
from tests.programs.forking import fork, write

KEEP: list[object] = []
"""What is still there when the interpreter ends."""
TEXT = "The package lets an attacker do what only its owner may. " * 15
PATIENCE = 20.0
"""Seconds in which a thread that nobody needs must have ended."""


def big(name: str) -> dict[str, object]:
    """Return an item of some pages."""
    return {**item(name), "claims_json": name * 1500}


def is_checkpointing() -> bool:
    """Whether the checkpointer's thread is there."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:
            continue
    return "checkpointer" in names


def begin_checkpoint(store: StateStore, prefix: str) -> None:
    """Write until the checkpointer's thread is there; say what was acknowledged."""
    for index in range(10_000):
        name = f"{prefix}-{index}"
        store.upsert_intel_item(big(name))
        say(name)
        if is_checkpointing():
            return
    raise AssertionError("the log is not checkpointed")


def write_under_readers(path: str, process: int, count: int) -> list[int]:
    """Once told to go, write items one by one while threads read; return the bytes of log after each write."""
    log, sizes, done = Path(f"{path}-wal"), [], threading.Event()
    with StateStore(path, synchronous="NORMAL") as store:

        def read() -> None:
            while not done.is_set():
                store.connection.execute("SELECT count(*) FROM intel_items WHERE title = 't'").fetchall()
                store.connection.execute("SELECT summary FROM intel_items LIMIT 50").fetchall()

        say()
        hear()
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for index in range(count):
            store.upsert_intel_item({**item(f"{process}-{index * 7919 % 20011}"), "summary": TEXT})
            sizes.append(log.stat().st_size)
        done.set()
        for reader in readers:
            reader.join()
    return sizes


def thread_ends_by_itself(path: str) -> bool:
    """Have the log checkpointed and then nothing to do, twice; return whether the thread ended each time."""
    with StateStore(path, synchronous="NORMAL") as store:
        store.start_run("run-1", "daily", {})
        ended = []
        for turn in range(2):
            begin_checkpoint(store, f"{turn}")
            pause = threading.Event()
            for _ in range(int(PATIENCE / 0.05)):
                if not is_checkpointing():
                    break
                pause.wait(0.05)
            ended.append(not is_checkpointing())
    return all(ended)


def forks_while_checkpointing(path: str, forks: int) -> None:
    """Fork again and again while the log is checkpointed; parent and child write on, and the child closes."""
    store = StateStore(path, synchronous="NORMAL")
    store.start_run("run-1", "daily", {})
    for index in range(forks):

        def child(index: int = index) -> None:
            write(store, f"child-{index}", 3)
            for part in range(200):
                store.upsert_intel_item(big(f"child-{index}-big-{part}"))
                say(f"child-{index}-big-{part}")
            store.close()

        begin_checkpoint(store, f"parent-{index}")
        join = fork(child)
        write(store, f"parent-after-{index}", 3)
        join()
    os._exit(0)


def leave_while_checkpointing(path: str, how: str) -> None:
    """End without closing while the log is checkpointed."""
    store = StateStore(path, synchronous="NORMAL")
    store.start_run("run-1", "daily", {})
    begin_checkpoint(store, "item")
    if how == "closed":
        store.close()
    elif how == "kept":
        KEEP.append(store)
