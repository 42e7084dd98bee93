"""Programs in which something else opens and closes a store's file while the store is open on it."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.programs import say
from tests.programs.exits import item

WRITE_ONCE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("UPDATE runs SET notes = 'by another process'")
except sqlite3.OperationalError as error:
    print(error, end="")
connection.close()
"""


def look_with_sqlite3(path: str) -> None:
    """Read the file with Python's own SQLite, and close it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM intel_items").fetchone() is not None


def look_with_open(path: str) -> None:
    """Open the files as a copying or hashing program does, and close them."""
    for suffix in ("", "-wal", "-shm"):
        Path(path + suffix).read_bytes()


LOOKS = {"sqlite3": look_with_sqlite3, "open": look_with_open}


def another_process_writes(path: str) -> str:
    """Have another process write without waiting; return what kept it from it, or nothing."""
    command = [sys.executable, "-c", WRITE_ONCE, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def start(path: str, count: int) -> list[StateStore]:
    """Open the file several times, and write the first of the items."""
    stores = [StateStore(path) for _ in range(count)]
    stores[0].start_run("run-1", "daily", {})
    put(stores[0], "first")
    return stores


def put(store: StateStore, name: str) -> None:
    """Write an item, and say that it is acknowledged."""
    store.upsert_intel_item(item(name))
    say(name)


def idle(path: str, how: str, count: int) -> None:
    """Look into the file between calls, write through every store, and end without closing."""
    stores = start(path, count)
    LOOKS[how](path)
    for index in range(100):
        put(stores[index % count], f"after-{index}")
    os._exit(0)


def one_store_closing(path: str, how: str, count: int) -> None:
    """Look into the file after all stores but one were closed."""
    *others, last = start(path, count)
    LOOKS[how](path)
    for store in others:
        store.close()
    LOOKS[how](path)
    for index in range(100):
        put(last, f"after-{index}")
    os._exit(0)


def in_transaction(path: str, how: str, count: int) -> None:
    """Look into the file inside a transaction, while another process tries to write."""
    *_, store = start(path, count)
    with store.transaction():
        for index in range(100):
            store.upsert_intel_item(item(f"inside-{index}"))
            if index == 50:
                LOOKS[how](path)
                assert another_process_writes(path) == "database is locked"
    for index in range(100):
        say(f"inside-{index}")
    os._exit(0)


def large_transaction(path: str, how: str, count: int) -> None:
    """Look into the file inside a transaction that has outgrown the cache, and is partly in the log."""
    *_, store = start(path, count)
    with store.transaction():
        for index in range(100):
            store.upsert_intel_item(item(f"inside-{index}") | {"summary": "s" * 1_000_000})
        LOOKS[how](path)
        assert another_process_writes(path) == "database is locked"
    for index in range(100):
        say(f"inside-{index}")
    os._exit(0)


def write_beside(path: str) -> dict[str, str]:
    """Say how a second copy of SQLite fares that writes while a transaction is open, and after it."""
    answers = {}
    with StateStore(path) as store, contextlib.closing(sqlite3.connect(path, timeout=0)) as second:
        store.start_run("run-1", "daily", {})
        for when in ("inside", "after"):
            with store.transaction() if when == "inside" else contextlib.nullcontext():
                store.upsert_intel_item(item(f"ours-{when}"))
                try:
                    second.execute("UPDATE runs SET notes = ?", [when])
                    second.commit()
                    answers[when] = "written"
                except sqlite3.OperationalError as error:
                    answers[when] = str(error)
    return answers


def close_cleanly(path: str, how: str, count: int) -> list[str]:
    """Look into the file, close every store; return the files that are left."""
    stores = start(path, count)
    LOOKS[how](path)
    put(stores[-1], "second")
    for store in stores:
        store.close()
        if store is not stores[-1]:
            LOOKS[how](path)
    return sorted(entry.name for entry in Path(path).parent.iterdir())
