"""Programs that fork again and again: inside transactions whatever disturbs them, and beside calls that take long."""

import contextlib
import ctypes
import itertools
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.programs import say

ROUNDS = 10
"""Forks of one storm: the first is inside a transaction that has spilled into the log."""
DESCRIPTORS = 128


def late() -> None:
    """Be late, as a child that is scheduled late."""
    time.sleep(0.05)


class Handshake:
    """Hooks of a library by which each child waits for a word of its parent."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.register_at_fork(after_in_child=lambda: os.read(self.reader, 1))

    def give(self) -> None:
        """Let one child go on."""
        os.write(self.writer, b"x")


@contextlib.contextmanager
def signals() -> Iterator[None]:
    """Have a signal with a handler come every millisecond."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def no_descriptor() -> Iterator[None]:
    """Use up the descriptors."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    assert len(held) > DESCRIPTORS // 2
    try:
        yield
    finally:
        for each in held:
            os.close(each)


def storm(path: str, disturbance: str) -> None:
    """Fork inside own transactions and those of another thread, and say what parent and children were told is there.

    The parent's transactions go on after the fork.
    """
    if disturbance == "a late hook that was there before":
        os.register_at_fork(after_in_child=late)
    handshake = Handshake() if disturbance == "a hook that waits for the parent" else None

    from orchestrator.state_store import StateStore, TransactionError

    from tests.programs.exits import item
    from tests.programs.forking import fork, raises

    if disturbance == "a late hook":
        os.register_at_fork(after_in_child=late)
    disturbed = {"signals": signals, "no descriptor": no_descriptor}.get(disturbance, contextlib.nullcontext)
    large = [{**item(f"large-{part}"), "claims_json": "x" * 1_000_000} for part in range(70)]

    store = StateStore(path)
    store.start_run("run-1", "daily", {})

    def in_own(index: int) -> None:
        raises(TransactionError, store.upsert_intel_item, item("never"))
        with StateStore(path) as own:
            own.upsert_intel_item(item(f"child-{index}"))
        say(f"child-{index}")

    def in_others(index: int) -> None:
        store.upsert_intel_item(item(f"child-{index}"))
        say(f"child-{index}")

    def start(child: Callable[[int], None], index: int) -> Callable[[], None]:
        with disturbed():
            join = fork(lambda: child(index))
        if handshake:
            handshake.give()
        return join

    def go_on(index: int) -> None:
        store.upsert_intel_items_batch(item(f"after-{index}-{part}") for part in range(200))

    def tell(index: int) -> None:
        say(f"before-{index}")
        for part in range(200):
            say(f"after-{index}-{part}")

    def hold(index: int, entered: threading.Event, over: threading.Event) -> None:
        with store.transaction():
            store.upsert_intel_item(item(f"before-{index}"))
            entered.set()
            over.wait()
            go_on(index)
        tell(index)

    joins = []
    for index in range(ROUNDS):
        if index % 2:
            entered, over = threading.Event(), threading.Event()
            holder = threading.Thread(target=hold, args=(index, entered, over))
            holder.start()
            entered.wait()
            joins.append(start(in_others, index))
            over.set()
            holder.join()
        else:
            with store.transaction():
                store.upsert_intel_item(item(f"before-{index}"))
                if index == 0:
                    store.upsert_intel_items_batch(large)
                    assert Path(f"{path}-wal").stat().st_size > 1_000_000, "nothing was spilled"
                joins.append(start(in_own, index))
                go_on(index)
            tell(index)
    while joins:
        joins.pop()()
    store.close()


def beside(path: str, what: str, items: int, forks: int) -> list[float]:
    """Fork beside calls that take long, of another thread; each child then writes to the same store.

    Say what was written; return how many forks waited for a call's end, how many calls ended in spite of them, and the
    seconds of the longest fork.
    """
    from orchestrator.state_store import StateStore

    from tests.programs.exits import item
    from tests.programs.forking import Gate, fork

    store = StateStore(path, synchronous="NORMAL")
    for run_id in ("run-1", "many"):
        store.start_run(run_id, "daily", {})
    many = [{**item(f"many-{index}"), "run_id": "many"} for index in range(items)]
    store.upsert_intel_items_batch(many)
    endless = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {items * 40}) SELECT sum(i) FROM n"
    long: dict[str, Callable[[], Any]] = {
        "batch": lambda: store.upsert_intel_items_batch(many),
        "list": lambda: store.list_intel_items_for_run("many"),
        "count": lambda: store.count_intel_items(run_id="many", where={"scores_json.n": (">", 5)}),
        "query": lambda: store.connection.execute(endless).fetchall(),
        "check": store.check,
        "vacuum": lambda: store.vacuum(full=True),
        "backup": lambda: store.backup(f"{path}.copy", overwrite=True),
    }
    call = long[what]
    calls = itertools.count()
    ended, stop, begun = [next(calls)], threading.Event(), threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            begun.set()
            call()
            ended[0] = next(calls)

    def child(index: int) -> None:
        over.wait()
        store.upsert_intel_item(item(f"child-{index}"))
        say(f"child-{index}")

    over = Gate()
    thread = threading.Thread(target=repeat)
    thread.start()
    begun.wait()
    waited, longest, joins = 0, 0.0, []
    for index in range(forks):
        before, began = ended[0], time.monotonic()
        joins.append(fork(lambda index=index: child(index)))  # type: ignore[misc]
        longest = max(longest, time.monotonic() - began)
        waited += ended[0] > before
    while ended[0] == 0:
        fork(lambda: None)()
    stop.set()
    thread.join()
    for _ in joins:
        over.open()
    for join in joins:
        join()
    store.upsert_intel_item(item("parent"))
    say("parent")
    store.close()
    return [waited, ended[0], longest]


def in_memory(what: str) -> list[int]:
    """Fork beside calls of another thread on a store in memory; return how the children ended: 3 is a typed error."""
    from orchestrator.state_store import StateStore, TransactionError

    from tests.programs.exits import item

    store = StateStore(":memory:")
    store.start_run("run-1", "daily", {})
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT sum(i) FROM n"
    sizes = itertools.count()
    call: Callable[[], Any] = {
        "short": lambda: store.upsert_intel_items_batch(item(f"{next(sizes)}") for _ in range(4)),
        "query": lambda: store.connection.execute(endless).fetchall(),
        "batch": lambda: store.upsert_intel_items_batch([item(f"{index}") for index in range(20_000)]),
    }[what]
    stop, begun = threading.Event(), threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            begun.set()
            call()

    def child() -> int:
        try:
            assert store.count_intel_items() % 4 == 0, "half a batch"
            store.upsert_intel_item(item("child"))
        except TransactionError:
            return 3
        return 0

    thread = threading.Thread(target=repeat)
    thread.start()
    begun.wait()
    codes = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = child()
            finally:
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop.set()
    thread.join()
    assert store.count_intel_items() % 4 == 0
    store.close()
    return codes


def first_use(path: str) -> None:
    """Fork while another thread makes the first calls of the process, for which things are made that are made once."""
    from orchestrator.state_store import StateStore

    from tests.programs.exits import item
    from tests.programs.forking import fork

    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    begun = threading.Event()

    def call() -> None:
        begun.set()
        store.upsert_intel_item(item("thread"))
        with store.transaction():
            store.upsert_intel_items_batch([{**item("thread"), "scores_json": {"a": "b"}}])
        store.get_intel_item("thread")

    def child(index: int) -> None:
        store.upsert_intel_item({**item(f"child-{index}"), "scores_json": {"a": "b"}})
        say(f"child-{index}")

    thread = threading.Thread(target=call)
    thread.start()
    begun.wait()
    joins = [fork(lambda index=index: child(index)) for index in range(10)]  # type: ignore[misc]
    thread.join()
    for join in joins:
        join()
    say("thread")
    store.close()


def behind_python(path: str) -> None:
    """Fork as a C library does, inside transactions and outside; the children write on.

    Without other Python threads: a child that Python does not know of may wait for those that wanted the interpreter.
    """
    from orchestrator.state_store import StateStore, TransactionError

    from tests.programs.exits import item
    from tests.programs.forking import raises, write

    libc = ctypes.PyDLL(None)
    store = StateStore(path)
    store.start_run("run-1", "daily", {})

    def child(index: int, inside: bool) -> None:
        if inside:
            raises(TransactionError, store.upsert_intel_item, item("never"))
        else:
            write(store, f"child-{index}", 3)
        with StateStore(path) as own:
            write(own, f"child-anew-{index}", 3)

    for index in range(20):
        inside = index % 2 == 1
        with store.transaction() if inside else contextlib.nullcontext():
            store.upsert_intel_item(item(f"parent-{index}"))
            pid = libc.fork()
            if pid == 0:
                code = 1
                try:
                    child(index, inside)
                    code = 0
                finally:
                    os._exit(code)
        say(f"parent-{index}")
        assert os.waitpid(pid, 0)[1] == 0, "the child failed"
    store.close()


def killed_parent(path: str, large: bool) -> None:
    """Fork inside a transaction, and be killed in it, while the child lives on without having used the store."""
    from orchestrator.state_store import StateStore

    from tests.programs.exits import item

    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_item(item("before"))
    transaction = store.transaction()
    transaction.__enter__()
    store.upsert_intel_item(item("never"))
    if large:
        for part in range(70):
            store.upsert_intel_item({**item(f"never-{part}"), "claims_json": "x" * 1_000_000})
    if os.fork() == 0:
        say(f"{os.getpid()}")
        signal.pause()
    signal.pause()
