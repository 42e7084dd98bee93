"""Processes that share a store on a server."""

import itertools
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError, TransactionError
from orchestrator.state_store._postgres import session

from tests.programs import hear, say
from tests.programs.exits import item


def add(url: str, rounds: int) -> int:
    """Read a number and write the next one, so many times."""
    with StateStore(url) as store:
        say()
        hear()
        for _ in range(rounds):
            with store.transaction():
                found = store.get_intel_item("sum")
                number = found["claims_json"] if found else 0
                store.upsert_intel_item({**item("sum"), "claims_json": number + 1})
    return rounds


def session_of(store: StateStore) -> int:
    """Return the number of the session that the store reads by."""
    [(number,)] = store.connection.execute("SELECT pg_backend_pid()").fetchall()
    return int(number)


def fork_in_a_transaction(url: str) -> list[str]:
    """Fork inside a transaction and beside one; return what each process was told, and what is there after that."""
    told: list[str] = []
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        with store.transaction():
            store.upsert_intel_item(item("mine"))
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    store.upsert_intel_item(item("of the child"))
                    os.write(write, b"written")
                except TransactionError:
                    os.write(write, b"refused")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            told.append(os.read(read, 100).decode())
            store.upsert_intel_item(item("mine too"))
        number = session_of(store)
        child = os.fork()
        if child == 0:
            store.upsert_intel_item(item("of a later child"))
            assert session_of(store) != number
            store.close()
            sys.exit(0)
        told.append(str(os.waitpid(child, 0)[1]))
        told.append("its own session" if session_of(store) == number else "another session")
        store.upsert_intel_item(item("last"))
        told += [each["item_id"] for each in store.list_intel_items()]
    return told


def use_all(url: str, name: str, threads: int, rounds: int) -> int:
    """Do some of everything in many threads; return how often."""
    with StateStore(url, busy_timeout=80) as store:
        say()
        hear()

        def work(thread: int) -> int:
            for number in range(rounds):
                store.upsert_intel_items_batch([item(f"{name}-{thread}-{number}")])
                store.decide(f"{name}-{thread}-{number}", "promote")
                with store.transaction():
                    found = store.get_intel_item("sum")
                    before = found["claims_json"] if found else 0
                    store.upsert_intel_item({**item("sum"), "claims_json": before + 1})
                assert store.count_intel_items(where={"scores_json.x": (">", 1)}) == 0
                store.connection.execute("SELECT count(*) FROM intel_items WHERE run_id = $1", ["run-1"])
            return rounds

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(work, range(threads)))


def live(url: str, run_id: str) -> None:
    """Be in a run until the end of the test."""
    with StateStore(url) as store, store.run(run_id, "daily", {}):
        say()
        hear()


def recover(url: str) -> None:
    """Recover whenever the test says so; tell which runs."""
    with StateStore(url) as store:
        say()
        while True:
            try:
                hear()
            except EOFError:
                return
            say(" ".join(run.run_id for run in store.recover_stale_runs(30)))


def fork_often(url: str, forks: int) -> list[int]:
    """Fork while threads write; return how many children failed, items are missing, and sessions the parent opened."""
    opened: list[int] = []
    connected = session._connected

    def counted(parameters: dict[str, Any]) -> session.Session:
        opened.append(os.getpid())
        return connected(parameters)

    session._connected = counted
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        over = threading.Event()

        def write(thread: int) -> int:
            for number in itertools.count():
                if over.is_set():
                    return number
                store.upsert_intel_item(item(f"{thread}-{number}"))
            return 0

        def end(child: int) -> bool:
            return os.waitpid(child, 0)[1] != 0

        with ThreadPoolExecutor(3) as pool:
            written = [pool.submit(write, thread) for thread in range(3)]
            children: list[int] = []
            failed = 0
            for number in range(forks):
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        store.upsert_intel_item(item(f"child-{number}"))
                        if number % 2:
                            store.close()
                        status = 0
                    finally:
                        os._exit(status)
                children.append(child)
                if len(children) > 4:
                    failed += end(children.pop(0))
            failed += sum(map(end, children))
            over.set()
            expected = sum(each.result() for each in written)
        return [failed, forks + expected - store.count_intel_items(), opened.count(os.getpid())]


def fork_in_a_wait(url: str) -> list[str]:
    """Fork in a signal handler while a call waits; return what the calls of both processes were told."""
    with StateStore(url) as holder, StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        read, write = os.pipe()
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with holder.transaction():
                entered.set()
                leave.wait(60)

        parent = os.getpid()

        def fork(*_: object) -> None:
            if os.fork():
                os.waitpid(-1, 0)
                leave.set()

        signal.signal(signal.SIGALRM, fork)
        thread = threading.Thread(target=hold)
        thread.start()
        entered.wait(60)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            store.upsert_intel_item(item("waited for"))
            told = "written"
        except StateStoreError as error:
            told = type(error).__name__
        if os.getpid() != parent:
            os.write(write, told.encode())
            os._exit(0)
        thread.join()
        return [os.read(read, 100).decode(), told, *(each["item_id"] for each in store.list_intel_items())]
