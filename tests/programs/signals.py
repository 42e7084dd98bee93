"""Programs that are interrupted while they use a store."""

import contextlib
import itertools
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.state_store import StateStore, StateStoreError, StoreBusyError

from tests.programs import hear, say
from tests.programs.exits import item


def interrupted(act: Callable[[], object]) -> float:
    """Do something that SIGINT interrupts soon; return the seconds from the signal to KeyboardInterrupt."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    # A shell that starts the tests in the background has them ignore SIGINT, and so their programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, interrupt)
    try:
        timer.start()
        act()
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
    raise AssertionError("not interrupted")


def enter(store: StateStore) -> None:
    """Open a transaction, write in it, and leave it."""
    with store.transaction():
        store.upsert_intel_item(item("interrupted"))


def large(last: object) -> list[dict[str, object]]:
    """Return a batch of so many items that it is encoded while it is written; the last has these scores."""
    interrupted: dict[str, object] = {**item("interrupted")}
    return [*[interrupted] * 899, {**item("last"), "scores_json": last}]


ACTS: dict[str, Callable[[StateStore], object]] = {
    "upsert": lambda store: store.upsert_intel_item(item("interrupted")),
    "batch": lambda store: store.upsert_intel_items_batch([item("interrupted")]),
    "large batch": lambda store: store.upsert_intel_items_batch(large({"a": 1})),
    "large batch with something unusual": lambda store: store.upsert_intel_items_batch(large({"a": math.nan})),
    "transaction": enter,
    "start_run": lambda store: store.start_run("interrupted", "daily", {}),
}


def wait_for_another_process(path: str, act: str, times: int) -> list[float]:
    """Wait for a lock that another process holds until it is told to let go; be interrupted so many times."""
    with StateStore(path, busy_timeout=60) as store:
        seconds = [interrupted(lambda: ACTS[act](store)) for _ in range(times)]
        say("interrupted")
        hear()
        store.upsert_intel_item(item("after"))
    return seconds


def wait_for_another_thread(path: str, act: str, times: int) -> list[float]:
    """Wait for a transaction of another thread; be interrupted so many times."""
    entered, release = threading.Event(), threading.Event()
    with StateStore(path, busy_timeout=60) as store:

        def hold() -> None:
            with store.transaction():
                store.upsert_intel_item(item("held"))
                entered.set()
                release.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        entered.wait()
        try:
            seconds = [interrupted(lambda: ACTS[act](store)) for _ in range(times)]
        finally:
            release.set()
            holder.join()
        store.upsert_intel_item(item("after"))
    return seconds


def handler_that_writes(path: str, count: int) -> int:
    """Write while a signal handler interrupts again and again and writes too; return how often it did."""
    handled = itertools.count()
    done = 0
    with StateStore(path, synchronous="NORMAL") as store:

        def handle(_signal: int, _frame: object) -> None:
            nonlocal done
            with contextlib.suppress(StateStoreError):
                store.upsert_intel_item(item(f"handler-{next(handled)}"))
                done += 1

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for index in range(count):
            if index % 5:
                store.upsert_intel_item(item(f"main-{index}"))
            else:
                with store.transaction():
                    store.upsert_intel_item(item(f"main-{index}"))
            store.list_intel_items_for_run("run-0")
        signal.setitimer(signal.ITIMER_REAL, 0)
    return done


def handler_that_writes_into_a_wait(path: str, act: str) -> list[float]:
    """Wait for another process, while a signal handler writes to the store; return how long it took to be refused."""
    seconds = []
    with StateStore(path, busy_timeout=10) as store:

        def handle(_signal: int, _frame: object) -> None:
            started = time.monotonic()
            with contextlib.suppress(StoreBusyError):
                ACTS[act](store)
                raise AssertionError("the lock was not held")
            seconds.append(time.monotonic() - started)
            say("handled")

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with contextlib.suppress(StoreBusyError):
            store.upsert_intel_item(item("main"))
        store.upsert_intel_item(item("after"))
    return seconds


LONG_LISTS: dict[str, Callable[[StateStore], Sequence[object]]] = {
    "by age": lambda store: store.list_intel_items_for_run("run-1"),
    "by a number": lambda store: store.list_intel_items(order_by="claims_json[1]", limit=3),
}


def long_list_interrupted_at_random(path: str, how: str, times: int) -> int:
    """List many items while Ctrl-C comes at any moment; return how often it came in the middle of a list."""
    interrupts = 0
    with StateStore(path, pool_size=1) as store:
        begun = time.monotonic()
        length = len(LONG_LISTS[how](store))
        took = time.monotonic() - begun
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for time_ in range(times):
            with contextlib.suppress(KeyboardInterrupt):
                interrupts += 1
                signal.setitimer(signal.ITIMER_REAL, max(took * time_ / times, 1e-6))
                items = LONG_LISTS[how](store)
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupts -= 1
                assert len(items) == length
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert len(LONG_LISTS[how](store)) == length
        store.upsert_intel_item(item("after"))
    return interrupts


def interrupted_at_random(path: str, times: int) -> dict[str, list[int]]:
    """Write pairs of items while Ctrl-C comes at any moment; return what was acknowledged and what was left open."""
    acknowledged: list[int] = []
    left_open: list[int] = []
    numbers = itertools.count()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with StateStore(path, synchronous="NORMAL", busy_timeout=0.5) as store:

        def stranger(time: int) -> None:
            try:
                store.upsert_intel_item(item(f"stranger-{time}"))
            except StateStoreError:
                left_open.append(time)

        for time_ in range(times):
            with contextlib.suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + time_ % 37 * 0.0002)
                for number in numbers:
                    pair = [item(f"first-{number}"), item(f"second-{number}")]
                    if number % 2:
                        store.upsert_intel_items_batch(pair)
                    else:
                        with store.transaction():
                            store.upsert_intel_item(pair[0])
                            store.upsert_intel_item(pair[1])
                    acknowledged.append(number)
            thread = threading.Thread(target=stranger, args=(time_,))
            thread.start()
            thread.join()
    return {"acknowledged": acknowledged, "left open": left_open}


FLOATS = [{"number": 1 / 3 + number} for number in range(100)]
CONVERTED: dict[str, Callable[[StateStore], object]] = {
    "batch": lambda store: store.upsert_intel_items_batch([{**item("new"), "claims_json": FLOATS}] * 30_000),
    "unusual batch": lambda store: store.upsert_intel_items_batch(
        [{**item("new"), "claims_json": FLOATS, "scores_json": (1,)}] * 30_000
    ),
    "list_runs": lambda store: store.list_runs(),
    "get_telemetry": lambda store: store.get_telemetry("large"),
    "list_telemetry": lambda store: store.list_telemetry([f"{number}" for number in range(6_000)]),
}
"""Calls that convert much from Python, or to it."""


def interrupted_while_converting(path: str, act: str) -> bool:
    """Have a signal come all the time, whose handler raises when it runs the fifth time; say whether it wrote."""
    times = itertools.count(1)

    def handle(*_: object) -> None:
        if next(times) == 5:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    with StateStore(path) as store:
        with store.transaction():
            for number in range(6_000):
                store.start_run(f"{number}", "daily", FLOATS[:20])
                store.write_telemetry(f"{number}", FLOATS[:20])
        store.start_run("large", "daily", {})
        store.write_telemetry("large", [FLOATS] * 3_000)
        signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
            CONVERTED[act](store)
        except KeyboardInterrupt:
            return store.get_intel_item("new") is not None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise AssertionError("the handler ran only when the call was done")


def interrupted_while_encoding(path: str) -> str:
    """Encode one large document for a run that is not there, while SIGINT comes; return what was raised before."""
    document = ["\t" * 1_000] * 40_000
    signal.signal(signal.SIGINT, signal.default_int_handler)
    come, told = os.pipe()
    child = os.fork()
    if child == 0:
        parent = os.getppid()

        def resident() -> int:
            return int(Path(f"/proc/{parent}/statm").read_text().split()[1])

        os.read(come, 1)
        before = resident()
        while resident() < before + 2_000:
            pass
        # It has some megabytes of 80.
        os.kill(parent, signal.SIGINT)
        os._exit(0)
    with StateStore(path) as store:
        try:
            os.write(told, b"1")
            store.write_telemetry("missing", document)
        except KeyboardInterrupt as error:
            return repr(error.__context__)
        finally:
            os.waitpid(child, 0)
    raise AssertionError("not interrupted")


def interrupted_in_the_commit_of_another_thread(path: str) -> list[str]:
    """Have a handler raise while another thread commits what this one writes; return the notes of what it raised."""

    def handle(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, handle)
    with StateStore(path) as store:
        # Each commit takes half a second. Usually the second thread takes along what this one brings during the first.
        for attempt in range(20):
            threads = [
                threading.Thread(target=store.upsert_intel_item, args=(item(f"{name} {attempt}"),)) for name in "ab"
            ]
            for thread in threads:
                thread.start()
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.75)
                store.upsert_intel_item(item(f"c {attempt}"))
                time.sleep(2)
            except KeyboardInterrupt as error:
                notes = getattr(error, "__notes__", [])
            for thread in threads:
                thread.join()
            if notes:
                assert store.get_intel_item(f"c {attempt}")
                return notes
    raise AssertionError("nobody else committed it")
