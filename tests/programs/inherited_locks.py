"""A program whose forked child lets go of a store, while the parent needs its locks."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from orchestrator.state_store import StateStore

from tests.programs import say
from tests.programs.exits import item
from tests.programs.second_copy import another_process_writes

READ_ONCE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM intel_items").fetchone()[0], end="")
connection.close()
"""


def another_process_reads(path: str) -> int:
    """Have another process open the file, count the items and close it; return how many there are."""
    command = [sys.executable, "-c", READ_ONCE, path]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextlib.contextmanager
def idle_child() -> Iterator[None]:
    """Have a forked child do nothing until the block ends."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def go_on(path: str, inside: bool) -> None:
    """Fork a child that lives on, in a transaction or not; write, while other processes try the locks."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    with contextlib.ExitStack() as stack:
        if inside:
            stack.enter_context(store.transaction())
        store.upsert_intel_item(item("before"))
        stack.enter_context(idle_child())
        if inside:
            assert another_process_writes(path) == "database is locked"
        assert another_process_reads(path) == (not inside)
        store.upsert_intel_item(item("after"))
    say("before")
    say("after")
    os._exit(0)
