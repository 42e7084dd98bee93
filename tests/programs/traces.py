"""Programs that fork while a traced store is in use."""

import logging
import os
import threading
from functools import partial

from orchestrator.state_store import StateStore

from tests.programs.exits import item
from tests.programs.forking import fork

LOGGER = logging.getLogger("orchestrator.state_store")


class Handler(logging.Handler):
    """Counts the upserts that are shown, and may fork at one."""

    def __init__(self) -> None:
        super().__init__()
        self.upserts = 0
        self.forks = False
        self.pid: int | None = None
        LOGGER.setLevel(logging.DEBUG)
        LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count it."""
        if vars(record)["sql"].startswith("INSERT INTO intel_items("):
            self.upserts += 1
            if self.forks and self.pid is None:
                self.pid = os.fork()


def use(store: StateStore, handler: Handler, name: str) -> None:
    """Write an item in a child, and see that its trace is of that alone."""
    handler.upserts = 0
    store.upsert_intel_item(item(name))
    assert handler.upserts == 1, handler.upserts


def fork_in_handler(path: str) -> str:
    """Fork inside a handler, with a transaction open or not; the child goes on from there."""
    handler = Handler()
    for where in (path, ":memory:"):
        with StateStore(where, trace_sql=True) as store:
            store.start_run("run-1", "daily", {})
            handler.pid, handler.forks = None, True
            store.upsert_intel_item(item("first"))
            handler.forks = False
            if handler.pid == 0:
                try:
                    use(store, handler, "child")
                    store.close()
                finally:
                    os._exit(int(handler.upserts != 1))
            assert handler.pid
            assert os.waitpid(handler.pid, 0)[1] == 0, where
            use(store, handler, "parent")
    return "well"


def fork_while_others_are_traced(path: str) -> str:
    """Fork again and again while threads write, each time in the middle of something else."""
    handler = Handler()
    over = threading.Event()
    with StateStore(path, trace_sql=True, synchronous="NORMAL") as store:
        store.start_run("run-1", "daily", {})

        def write(name: str) -> None:
            count = 0
            while not over.is_set():
                store.upsert_intel_item(item(f"{name}-{count % 100}"))
                store.upsert_intel_items_batch(item(f"{name}-{index}") for index in range(600))
                count += 1

        threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                fork(partial(use, store, handler, f"child-{number}"))()
        finally:
            over.set()
            for thread in threads:
                thread.join()
    return "well"
