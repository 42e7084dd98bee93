"""Programs that fork while a store is open. Each says which items were acknowledged, by parent and child."""

import contextlib
import functools
import importlib
import itertools
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import orchestrator.state_store.store
from orchestrator.state_store import StateStore, StateStoreError

from tests.programs.exits import item
from tests.programs.fork_transactions import (
    own_transaction,
    own_transaction_dropped,
    own_transaction_in_a_with_block,
    transaction_of_another_thread,
)
from tests.programs.forking import MANY, Gate, busy_threads, fork, many, write


def idle(store: StateStore, path: str) -> None:
    """Fork while nothing is going on; both write on."""
    join = fork(lambda: write(store, "child", 20))
    write(store, "parent", 20)
    join()


def unused(store: StateStore, path: str) -> None:
    """Fork; the child leaves the store alone and ends."""
    fork(lambda: None)()
    write(store, "parent", 10)


def parent_closes_first(store: StateStore, path: str) -> None:
    """Let the child write after the parent has closed: without a file lock, its writes would be lost."""
    closed = Gate()

    def child() -> None:
        closed.wait()
        write(store, "child", 50)
        store.close()

    join = fork(child)
    write(store, "parent", 5)
    store.close()
    closed.open()
    join()


def child_closes_first(store: StateStore, path: str) -> None:
    """Let the parent write after the child has closed its copy of the store."""
    fork(store.close)()
    write(store, "parent", 30)


def child_writes_dies_and_parent_writes(store: StateStore, path: str) -> None:
    """Let the child write and end without closing, the parent write, and again."""
    for index in range(5):
        fork(lambda index=index: write(store, f"child-{index}", 5))()  # type: ignore[misc]
        write(store, f"parent-{index}", 5)


def child_opens_its_own(store: StateStore, path: str) -> None:
    """Let the child open the file anew, and close it, while the parent writes on."""

    def child() -> None:
        for index in range(5):
            with StateStore(path) as own:
                write(own, f"child-{index}", 4)

    join = fork(child)
    write(store, "parent", 20)
    join()


def child_closes_and_opens_its_own(store: StateStore, path: str) -> None:
    """Let the child close what it inherited, and open the file anew."""

    def child() -> None:
        store.close()
        with StateStore(path) as own:
            write(own, "child", 20)

    join = fork(child)
    write(store, "parent", 20)
    join()


def grandchild(store: StateStore, path: str) -> None:
    """Fork in the child too, before and after it has written."""

    def child() -> None:
        inner = fork(lambda: write(store, "grandchild", 10))
        write(store, "child", 10)
        last = fork(lambda: write(store, "late-grandchild", 10))
        inner()
        last()

    join = fork(child)
    write(store, "parent", 20)
    join()


def threads_write(store: StateStore, path: str) -> None:
    """Fork ten times while threads read and write; all children write on."""
    with busy_threads(store):
        joins = [fork(lambda index=index: write(store, f"child-{index}", 5)) for index in range(10)]  # type: ignore[misc]
        for join in joins:
            join()


def threads_write_and_parent_closes(store: StateStore, path: str) -> None:
    """Fork while threads write; let the child write after the parent has closed."""
    closed = Gate()

    def child() -> None:
        closed.wait()
        write(store, "child", 20)

    with busy_threads(store):
        join = fork(child)
    store.close()
    closed.open()
    join()


def thread_counts(store: StateStore, path: str) -> None:
    """Fork ten times while a thread counts many items; all children count too."""
    many(store)
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            assert store.count_intel_items(run_id="many") == MANY

    def count_and_write(index: int) -> None:
        assert store.count_intel_items(run_id="many") == MANY
        write(store, f"child-{index}", 2)

    thread = threading.Thread(target=count)
    thread.start()
    joins = [fork(lambda index=index: count_and_write(index)) for index in range(10)]  # type: ignore[misc]
    for join in joins:
        join()
    stop.set()
    thread.join()


def thread_imports(store: StateStore, path: str) -> None:
    """Fork while the first call of a thread imports a module: the child can make that call too."""
    name = "orchestrator.state_store.records.filters"
    entered, waited_for = threading.Event(), threading.Event()

    def find(module: str, *_: object) -> None:
        if module == name:
            entered.set()
            waited_for.wait()

    def import_module(module: str) -> None:
        waited_for.set()
        importlib.import_module(module)

    finder = type("Slow", (), {"find_spec": staticmethod(find)})
    count = functools.partial(store.count_intel_items, run_id="run-1")
    thread = threading.Thread(target=count)
    sys.modules.pop(name, None)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    vars(orchestrator.state_store.store)["import_module"] = import_module
    thread.start()
    entered.wait()
    join = fork(count)
    waited_for.set()
    join()
    thread.join()


def from_a_thread(store: StateStore, path: str) -> None:
    """Fork in a thread other than the main one."""
    thread = threading.Thread(target=idle, args=(store, path))
    thread.start()
    thread.join()


def with_multiprocessing(store: StateStore, path: str) -> None:
    """Fork by way of multiprocessing."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write, args=(store, f"child-{index}", 10)) for index in range(3)]
    for process in processes:
        process.start()
    write(store, "parent", 10)
    for process in processes:
        process.join()
        assert process.exitcode == 0


def a_store_of_each_thread(store: StateStore, path: str) -> None:
    """Fork while threads hold stores that only they know of: Python drops those in the child before any hook."""
    local, over = threading.local(), threading.Event()
    ready = threading.Barrier(4)

    def work(thread: int) -> None:
        local.store = StateStore(path)
        write(local.store, f"thread-{thread}-before", 2)
        ready.wait()
        over.wait()
        write(local.store, f"thread-{thread}-after", 2)
        local.store.close()

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    join = fork(lambda: write(store, "child", 5))
    write(store, "parent", 5)
    over.set()
    join()
    for thread in threads:
        thread.join()


def after_a_reload(store: StateStore, path: str) -> None:
    """Fork after the module was loaded again."""
    importlib.reload(orchestrator.state_store.store)
    join = fork(lambda: write(store, "child", 5))
    write(store, "parent", 5)
    join()


def in_memory(store: StateStore, path: str) -> None:
    """Fork with a store in memory: the child has a copy of its own, or a typed error."""
    with StateStore(":memory:") as memory:
        memory.start_run("run-1", "daily", {})
        memory.upsert_intel_item(item("before"))

        def child() -> None:
            with contextlib.suppress(StateStoreError):
                memory.upsert_intel_item(item("child"))
                assert len(memory.list_intel_items_for_run("run-1")) == 2

        fork(child)()
        assert [each["item_id"] for each in memory.list_intel_items_for_run("run-1")] == ["before"]


SCENES = [
    idle,
    unused,
    parent_closes_first,
    child_closes_first,
    child_writes_dies_and_parent_writes,
    child_opens_its_own,
    child_closes_and_opens_its_own,
    grandchild,
    threads_write,
    threads_write_and_parent_closes,
    thread_counts,
    thread_imports,
    from_a_thread,
    with_multiprocessing,
    transaction_of_another_thread,
    own_transaction,
    own_transaction_dropped,
    own_transaction_in_a_with_block,
    a_store_of_each_thread,
    after_a_reload,
    in_memory,
]


def play(path: str, scene: str, close: bool) -> None:
    """Open a store with a run, play a scene, and end with or without closing."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    {each.__name__: each for each in SCENES}[scene](store, path)
    if close:
        store.close()
    else:
        os._exit(0)


def interpreter_ends_in_the_child(path: str) -> None:
    """Fork, and let the child end as a program does, with all its finalizers, while the parent writes on."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    pid = os.fork()
    if pid == 0:
        write(store, "child", 5)
        return
    assert os.waitpid(pid, 0)[1] == 0
    write(store, "parent", 30)
    os._exit(0)


def forks_while_stores_are_opened(folder: str, forks: int) -> int:
    """Fork while another thread opens and closes stores; return how many children had a file still open."""
    stop = threading.Event()

    def work() -> None:
        for index in itertools.count():
            StateStore(Path(folder) / f"{index % 3}.db").close()
            if stop.is_set():
                return

    def child() -> None:
        files = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        # The folder itself is opened to be synced, and locks nothing.
        os._exit(3 if any(f"{folder}/" in file for file in files) else 0)

    opener = threading.Thread(target=work)
    with StateStore(Path(folder) / "live.db"):
        opener.start()
        try:
            codes = []
            for _ in range(forks):
                pid = os.fork()
                if pid == 0:
                    child()
                codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        finally:
            stop.set()
            opener.join()
    assert set(codes) <= {0, 3}
    return codes.count(3)
