"""Runs that live, die, are taken for dead and recovered."""

import contextlib
import ctypes
import os
import sqlite3
import threading
import time
from pathlib import Path

from orchestrator.state_store import RunFinishedError, StateStore, StoreBusyError

from tests.programs import hear, say
from tests.programs.exits import item
from tests.programs.forking import fork

KEEP: list[object] = []
"""What is still there when the interpreter ends."""


def is_beating() -> bool:
    """Whether the thread that beats is there."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            names.append((task / "comm").read_text().strip())
    return "heartbeats" in names


def begins_to_beat() -> bool:
    """Whether the thread that beats comes within the time that a thread takes to name itself."""
    for _ in range(1000):
        if is_beating():
            return True
        threading.Event().wait(0.01)
    return False


def live(path: str, run_id: str) -> None:
    """Be inside the block of a run until told to leave it, or killed."""
    with StateStore(path) as store, store.run(run_id, "daily", {}):
        store.upsert_intel_item({**item(run_id), "run_id": run_id})
        say()
        hear()


def hold_the_interpreter(path: str) -> float:
    """Be inside the block of a run, and let no other thread run Python, until told to; return how long none did."""
    longest = 0.0

    def watch() -> None:
        nonlocal longest
        last = time.monotonic()
        while True:
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    with StateStore(path) as store, store.run("run-1", "daily", {}):
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        # Unlike CDLL it keeps the interpreter's lock.
        read = ctypes.PyDLL(None).read
        say()
        read(0, ctypes.create_string_buffer(1), 1)
        watcher.join(0.1)
        return longest


def hold_the_lock(path: str, seconds: float, how: str) -> None:
    """Once told to, keep the file's lock for so long, inside a run's block or as another program; then let go of it."""
    pause = threading.Event()
    if how == "of another program":
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            say()
            hear()
            connection.execute("BEGIN IMMEDIATE")
            pause.wait(seconds)
            connection.execute("ROLLBACK")
        return
    with StateStore(path) as store, store.run("run-1", "daily", {}):
        say()
        hear()
        with contextlib.suppress(InterruptedError), store.transaction():
            store.upsert_intel_item(item("first"))
            pause.wait(seconds)
            if how == "rolled back":
                raise InterruptedError
            if how == "killed":
                os.kill(os.getpid(), 9)
        store.upsert_intel_item(item("last"))


def recover(path: str, older_than: float) -> None:
    """Recover runs each time when told to, also where the newest time in the file is long ago; say which."""
    with StateStore(path) as store:
        say()
        while hear() == "go":
            stale = store.recover_stale_runs(older_than, trust_clock=True)
            say(" ".join(run.run_id for run in stale) or "none")


def toil(path: str) -> None:
    """Work for each run that is named, in all ways in turn, until refused for good; say how many writes were taken."""
    with StateStore(path, synchronous="NORMAL") as store:
        say()
        while (run_id := hear()) != "end":
            store.start_run(run_id, "daily", {})
            taken, refused = 0, 0
            while refused < 3:
                mine = {**item(f"{run_id}/{taken}"), "run_id": run_id}
                shared = {**item("job"), "run_id": run_id, "title": run_id, "summary": f"{taken}"}
                try:
                    if (taken + refused) % 3 == 0:
                        store.upsert_intel_items_batch([shared, mine])
                    elif (taken + refused) % 3 == 1:
                        with store.transaction():
                            store.write_telemetry(run_id, taken)
                            store.upsert_intel_item(shared)
                            store.upsert_intel_item(mine)
                    else:
                        store.upsert_intel_item(mine)
                except RunFinishedError:
                    refused += 1
                else:
                    assert not refused, "a write was refused, and a later one was not"
                    taken += 1
                    if taken == 1:
                        say("begun")
            say(f"{taken}")


def backdate(path: str, then: str) -> None:
    """Have all runs give their last sign of life at a time of the past, each time when told to; say so."""
    say()
    while hear() == "go":
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE runs SET started_at = ?, heartbeat_at = NULL", (then,))
            connection.execute("UPDATE intel_items SET created_at = ?", (then,))
        say()


def opened(path: str) -> StateStore:
    """Open a store that waits for a second at most, however long it takes until the file is there."""
    while True:
        with contextlib.suppress(StoreBusyError):
            return StateStore(path, busy_timeout=1)


def recover_until_told(path: str, older_than: float) -> list[str]:
    """Recover runs again and again, until the test is done; return which."""
    done = threading.Event()

    def wait() -> None:
        hear()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    recovered = []
    with opened(path) as store:
        say()
        while not done.wait(0.02):
            with contextlib.suppress(StoreBusyError):
                recovered += [run.run_id for run in store.recover_stale_runs(older_than)]
    return recovered


def fork_in_the_block(path: str, closes: bool) -> list[bool]:
    """Let a child leave the block that it was forked in, and enter one of its own.

    Return whether the thread was there: in the parent, in the child before and in its block, in the parent again.
    """
    store = StateStore(path)
    beating = os.pipe()
    with store.run("run-1", "daily", {}) as run:
        in_parent = begins_to_beat()

        def child() -> None:
            os.write(beating[1], b"1" if is_beating() else b"0")
            run.__exit__(None, None, None)
            with store.run("run-2", "daily", {}):
                os.write(beating[1], b"1" if begins_to_beat() else b"0")
            if closes:
                store.close()

        fork(child)()
        assert [each.status for each in store.list_runs()] == ["completed", "running"]
        store.heartbeat("run-1")
        still = begins_to_beat()
    store.close()
    in_child = [os.read(beating[0], 1) == b"1" for _ in range(2)]
    return [in_parent, *in_child, still]


def leave(path: str, how: str) -> None:
    """End inside a run's block."""
    store = StateStore(path)
    run = store.run("run-1", "daily", {})
    run.__enter__()
    say(str(begins_to_beat()))
    if how == "closed":
        store.close()
    elif how == "kept":
        KEEP.extend([store, run])


def close_again_and_again(path: str, times: int) -> int:
    """Close the store inside a run's block, at once or while a beat is due; return how many threads are left."""
    for index in range(times):
        store = StateStore(path)
        run = store.run(f"run-{index}", "daily", {})
        run.__enter__()
        if index % 3:
            begins_to_beat()
        store.close()
    return int(is_beating())
