"""Sessions that end, hosts that vanish, processes that fork: what others are told, and what is kept."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial

import psycopg
import pytest
from orchestrator.state_store import (
    RunNotFoundError,
    StateStore,
    StoreBusyError,
    StoreClosedError,
    TransactionDoomedError,
    TransactionError,
)

from tests import servers
from tests.conformance.seen import assert_sound
from tests.helpers import Peer, assert_free, in_process, in_threads, item_ids, make_item
from tests.postgres.conftest import waiting_sessions
from tests.programs import on_servers


def end_sessions() -> int:
    """Have the server end all sessions of stores; return how many there were."""
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        sql = """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE application_name = 'orchestrator.state_store'"""
        return len(session.execute(sql).fetchall())


def test_sessions_that_the_server_has_ended_are_replaced(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a"))
    assert item_ids(store) == ["a"]
    assert end_sessions() >= 2
    store.upsert_intel_item(make_item("b"))
    assert end_sessions() >= 1
    assert item_ids(store) == ["a", "b"]


def test_item_is_written_after_a_rollback(store: StateStore) -> None:
    """With what it has prepared itself, psycopg drops all that is prepared in the session."""
    for number in range(8):
        store.write_telemetry("run-1", {"number": number})
    for item_id in ("a", "b"):
        store.upsert_intel_item(make_item(item_id))
        with suppress(ZeroDivisionError), store.transaction():
            raise ZeroDivisionError
    assert item_ids(store) == ["a", "b"]


def test_transaction_whose_session_is_ended_is_doomed(store: StateStore) -> None:
    def block() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            end_sessions()
            with pytest.raises(TransactionDoomedError):
                store.upsert_intel_item(make_item("b"))
            with pytest.raises(TransactionDoomedError):
                item_ids(store)

    with pytest.raises(TransactionDoomedError):
        block()
    store.upsert_intel_item(make_item("c"))
    assert item_ids(store) == ["c"]


def test_transaction_in_which_nothing_happens_lets_others_write(url: str) -> None:
    """Its host may be gone, and would hold the lock for as long as the server's own patience lasts."""
    with StateStore(f"{url}&transaction_idle_timeout=0.5") as idle, StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        block = idle.transaction()
        block.__enter__()
        idle.upsert_intel_item(make_item("a"))

        def write() -> float:
            begun = time.monotonic()
            store.upsert_intel_item(make_item("b"))
            return time.monotonic() - begun

        assert in_threads([write])[0] < 10
        with pytest.raises(TransactionDoomedError):
            block.__exit__(None, None, None)
        assert item_ids(store) == ["b"]


def test_others_wait_for_a_transaction_until_busy_timeout(url: str) -> None:
    with StateStore(url) as store, StateStore(url, busy_timeout=0.3) as other:
        store.start_run("run-1", "daily", {})

        def write() -> float:
            begun = time.monotonic()
            with pytest.raises(StoreBusyError):
                other.upsert_intel_item(make_item("b"))
            with pytest.raises(StoreBusyError), other.transaction():
                pass
            return time.monotonic() - begun

        with store.transaction():
            assert 0.5 < in_threads([write])[0] < 20
            with pytest.raises(StoreBusyError, match="could never end"):
                other.upsert_intel_item(make_item("b"))


def test_numbers_of_four_processes_add_up(url: str) -> None:
    with StateStore(url) as store, ExitStack() as stack:
        store.start_run("run-1", "daily", {})
        peers = [stack.enter_context(Peer(on_servers.add, url, 50)) for _ in range(4)]
        for peer in peers:
            peer.hear()
        for peer in peers:
            peer.tell()
        assert [peer.result() for peer in peers] == [50] * 4
        found = store.get_intel_item("sum")
        assert found is not None
        assert found["claims_json"] == 200


def test_no_item_dangles_when_its_run_is_deleted_meanwhile(store: StateStore, pytestconfig: pytest.Config) -> None:
    for index in range(1000 if pytestconfig.getoption("--full") else 60):
        run_id = f"r{index}"
        store.start_run(run_id, "daily", {})

        def write(run_id: str) -> None:
            try:
                for number in range(4):
                    store.upsert_intel_item(make_item(f"{run_id}-{number}", run_id))
            except RunNotFoundError:
                pass

        work: list[Callable[[], object]] = [partial(write, run_id), partial(store.delete_run, run_id, force=True)]
        in_threads(work)
    assert_sound(store)
    assert {item["run_id"] for item in store.list_intel_items()} <= {"run-1"}


def deadlocks() -> int:
    """Return how many the server has ended. A session tells of it at its end."""
    with psycopg.connect(servers.shared()) as session:
        sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        [(number,)] = session.execute(sql).fetchall()
        return int(number)


def test_batches_in_opposite_order_end_without_a_deadlock(url: str, pytestconfig: pytest.Config) -> None:
    """One that the server ends is repeated, and would only be slow."""
    before = deadlocks()
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        write_in_opposite_order(store, 50 if pytestconfig.getoption("--full") else 5)
    limit = time.monotonic() + 10
    while open_sessions() and time.monotonic() < limit:
        time.sleep(0.05)
    assert deadlocks() == before


def open_sessions() -> int:
    with psycopg.connect(servers.shared()) as session:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orchestrator.state_store'"
        [(number,)] = session.execute(sql).fetchall()
        return int(number)


def write_in_opposite_order(store: StateStore, rounds: int) -> None:
    names = [f"{index:04}" for index in range(1000)]

    def write(names: list[str], number: int) -> None:
        for round_ in range(rounds):
            store.upsert_intel_items_batch(make_item(name, title=f"{number} {round_}") for name in names)

    in_threads([partial(write, names, 1), partial(write, names[::-1], 2)])
    assert store.count_intel_items() == 1000
    assert len({item["title"] for item in store.list_intel_items()}) == 1, "one batch was the last as a whole"


def test_a_batch_is_recorded_in_its_own_order(store: StateStore) -> None:
    names = [f"{(index * 7919) % 1501}" for index in range(1501)]
    store.upsert_intel_items_batch(make_item(name) for name in names)
    store.upsert_intel_items_batch(make_item(name) for name in ("later", "0", "earlier"))
    assert item_ids(store) == [*names, "later", "earlier"]


def test_forked_child_begins_anew_and_leaves_the_parent_its_sessions(url: str) -> None:
    told = in_process(on_servers.fork_in_a_transaction, url)
    assert told == ["refused", "0", "its own session", "mine", "mine too", "of a later child", "last"]


def test_close_ends_the_wait_for_a_transaction_of_another(url: str) -> None:
    with StateStore(url) as holder:
        holder.start_run("run-1", "daily", {})
        store = StateStore(url, busy_timeout=60)

        def write() -> str:
            with pytest.raises(StoreClosedError, match="upsert_intel_item"):
                store.upsert_intel_item(make_item("a"))
            return "told"

        def close() -> str:
            while waiting_sessions() == 0:
                time.sleep(0.02)
            begun = time.monotonic()
            store.close()
            assert time.monotonic() - begun < 20
            return "closed"

        with holder.transaction():
            assert in_threads([write, close]) == ["told", "closed"]
        assert item_ids(holder) == []


def test_ctrl_c_ends_a_wait_and_leaves_nothing_open(url: str) -> None:
    with StateStore(url) as holder, StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        waits: list[Callable[[], object]] = [
            lambda: store.upsert_intel_item(make_item("a")),
            lambda: store.upsert_intel_items_batch(make_item(f"{number}") for number in range(2000)),
            lambda: store.transaction().__enter__(),
            lambda: store.merge_telemetry("run-1", {"a": 1}),
        ]
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with holder.transaction():
                entered.set()
                leave.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        assert entered.wait(60)
        for wait in waits:
            timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
            timer.start()
            begun = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                wait()
            assert time.monotonic() - begun < 10
            timer.join()
        leave.set()
        thread.join()
        assert item_ids(store) == []
        assert store.get_telemetry("run-1") is None
        assert_free(store)


def test_transaction_is_left_by_its_own_thread(store: StateStore) -> None:
    block = store.transaction()
    block.__enter__()
    refused: list[bool] = []

    def leave() -> None:
        try:
            block.__exit__(None, None, None)
        except TransactionError:
            refused.append(True)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert refused == [True]
    block.__exit__(None, None, None)


def test_heartbeats_go_on_during_a_transaction_of_another(url: str) -> None:
    """A long transaction must not make the runs of others look dead."""
    with StateStore(url) as store, StateStore(url) as other, other.run("run-1", "daily", {}) as run:
        first = run.record.started_at
        with store.transaction():
            store.start_run("run-2", "daily", {})
            limit = time.monotonic() + 30
            while True:
                found = other.get_run("run-1")
                assert found is not None
                if found.heartbeat_at is not None and found.heartbeat_at > first:
                    break
                assert time.monotonic() < limit
                time.sleep(0.05)
