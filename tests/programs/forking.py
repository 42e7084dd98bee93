"""Forking, for programs of tests: what runs in the child, and what is written in between."""

import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.state_store import StateStore, TransactionError

from tests.programs import say
from tests.programs.exits import item


def write(store: StateStore, prefix: str, count: int) -> None:
    """Write items in several ways; say each once it is acknowledged."""
    for index in range(count):
        name = f"{prefix}-{index}"
        if index % 3:
            store.upsert_intel_item(item(name))
        else:
            with store.transaction():
                store.upsert_intel_item(item(name))
        say(name)
        assert name in {each["item_id"] for each in store.list_intel_items_for_run("run-1")}


MANY = 40_000


def many(store: StateStore) -> None:
    """Write so many items into a run of their own that to count them takes a while."""
    store.start_run("many", "daily", {})
    store.upsert_intel_items_batch({**item(f"many-{index}"), "run_id": "many"} for index in range(MANY))


class Gate:
    """Lets another process pass once."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def open(self) -> None:
        """Let the other process pass."""
        os.write(self.writer, b"x")

    def wait(self) -> None:
        """Wait until the other process opens the gate."""
        assert os.read(self.reader, 1) == b"x"


def fork(child: Callable[[], object]) -> Callable[[], None]:
    """Run a function in a child; return what waits for the child and checks that it went well."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)

    def join() -> None:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the child failed: {status}"

    return join


def raises(kind: type[Exception], act: Callable[..., Any], *args: Any) -> None:
    """Check that a call raises."""
    try:
        act(*args)
    except kind:
        return
    raise AssertionError(f"{act} did not raise {kind}")


@contextlib.contextmanager
def busy_threads(store: StateStore) -> Iterator[None]:
    """Keep two threads writing and one reading, from before the block until its end."""
    stop = threading.Event()
    started = threading.Barrier(4)

    def work(thread: int) -> None:
        for index in itertools.count():
            if thread == 2:
                store.list_intel_items_for_run("run-1")
            else:
                name = f"thread-{thread}-{index}"
                store.upsert_intel_items_batch([item(name)])
                say(name)
            if index == 0:
                started.wait()
            if stop.is_set():
                return

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def go_on_or_be_told(store: StateStore) -> None:
    """Use a store that had a transaction open at the fork: what it acknowledges counts, and its refusals are typed."""
    try:
        write(store, "child", 10)
    except TransactionError:
        raises(TransactionError, store.upsert_intel_item, item("never"))
