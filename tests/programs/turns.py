"""Processes that want to write one file."""

import itertools
import os
import threading
import time

from orchestrator.state_store import StateStore

from tests.programs import hear, say
from tests.programs.exits import item


def write_without_pause(path: str, name: str, seconds: float) -> int:
    """Write in transactions of some 15 ms, one right after the other; return how many were committed."""
    with StateStore(path, busy_timeout=5) as store:
        say()
        hear()
        end = time.monotonic() + seconds
        for count in itertools.count():
            if time.monotonic() >= end:
                return count
            with store.transaction():
                store.upsert_intel_item(item(f"{name}-{count % 30}"))
                time.sleep(0.015)
                store.upsert_intel_item(item(f"{name}-{count % 30}-b"))
    raise AssertionError


def wait_to_write(path: str) -> bool:
    """Write one item, for which the file's lock has to be waited for."""
    with StateStore(path, busy_timeout=60) as store:
        say()
        store.upsert_intel_item(item("waited for"))
    return True


def fork_while_waiting(path: str) -> None:
    """Wait to write in a thread, and fork when told to; the child stays until it is told to end."""
    store = StateStore(path, busy_timeout=60)
    threading.Thread(target=store.upsert_intel_item, args=(item("waited for"),), daemon=True).start()
    say()
    hear()
    child = os.fork()
    if child == 0:
        say(f"{os.getpid()}")
        time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)
