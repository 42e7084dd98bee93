"""Connections that are cut before, within and after the answer of a commit: who knows what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from orchestrator.state_store import (
    CommitOutcomeUnknownError,
    IntelItemNotFoundError,
    RunExistsError,
    StateStore,
    StorageIOError,
    TransactionDoomedError,
)

from tests.helpers import TIMEOUT, in_threads, item_ids, make_item
from tests.servers import Server
from tests.servers.proxy import Proxy


@pytest.fixture
def store(server: Server, proxy: Proxy, url: str) -> Iterator[StateStore]:
    """Open a store whose sessions go through the proxy."""
    with StateStore(f"{server.url_of(proxy.port)}&schema={url.rpartition('=')[2]}", busy_timeout=20) as store:
        store.start_run("run-1", "daily", {})
        yield store


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> range:
    """Return the numbers of the rounds: each cuts the answer after as many bytes, or 60 less."""
    return range(100) if pytestconfig.getoption("--full") else range(0, 100, 12)


def test_start_run_knows_its_own_run(store: StateStore, proxy: Proxy, rounds: range) -> None:
    for number in rounds:
        run_id = f"cut-{number}-"
        proxy.cut_answers(run_id.encode(), passing=number % 60)
        started = store.start_run(run_id, "daily", {})
        found = store.get_run(run_id)
        assert found is not None
        assert found.started_at == started.started_at
        with pytest.raises(RunExistsError):
            store.start_run(run_id, "daily", {})
    assert proxy.cuts >= len(rounds)


def test_start_run_that_never_arrived_is_started_once(store: StateStore, proxy: Proxy) -> None:
    proxy.cut_answers(b"run-lost", forwarded=False)
    store.start_run("run-lost", "daily", {})
    assert proxy.cuts == 1
    assert store.count_runs(run_id_prefix="run-lost") == 1


REPEATED: dict[str, Callable[[StateStore, str], object]] = {
    "upsert": lambda store, name: store.upsert_intel_item(make_item(name)),
    "batch": lambda store, name: store.upsert_intel_items_batch([make_item(name), make_item(f"{name} too")]),
    "chunks": lambda store, name: store.upsert_intel_items_batch(make_item(f"{name}{n}") for n in range(1200)),
    "decide": lambda store, name: store.decide("item-1", name),
    "write_telemetry": lambda store, name: store.write_telemetry("run-1", {"name": name}),
    "merge_telemetry": lambda store, name: store.merge_telemetry("run-1", {name: 1}),
}


@pytest.mark.parametrize("call", REPEATED)
def test_calls_that_may_be_done_twice_repeat_by_themselves(
    store: StateStore, proxy: Proxy, rounds: range, call: str
) -> None:
    store.upsert_intel_item(make_item())
    for number in rounds:
        name = f"cut-{number}-"
        proxy.cut_answers(name.encode(), passing=number % 60)
        REPEATED[call](store, name)
        assert name in repr([store.list_intel_items_for_run("run-1"), store.get_telemetry("run-1")])
    assert proxy.cuts >= len(rounds)


def test_calls_that_must_not_be_done_twice_say_so(store: StateStore, proxy: Proxy) -> None:
    store.upsert_intel_item(make_item("item-lost"))
    store.start_run("run-lost", "daily", {})
    for call in (lambda: store.delete_intel_item("item-lost"), lambda: store.delete_run("run-lost", force=True)):
        proxy.cut_answers(b"-lost")
        with pytest.raises(CommitOutcomeUnknownError, match="unknown"):
            call()
    assert proxy.cuts == 2
    assert item_ids(store) == []
    assert store.get_run("run-lost") is None


def test_transaction_finds_out_whether_it_was_committed(store: StateStore, proxy: Proxy, rounds: range) -> None:
    for number in rounds:
        proxy.cut_answers(b"COMMIT", passing=number % 60)
        with store.transaction():
            store.upsert_intel_item(make_item(f"{number}"))
    assert len(item_ids(store)) == len(rounds)
    assert proxy.cuts >= len(rounds)


def test_transaction_whose_commit_never_arrived_is_not_written(store: StateStore, proxy: Proxy) -> None:
    def block() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            proxy.cut_answers(b"COMMIT", forwarded=False)

    with pytest.raises(StorageIOError, match="nothing of the transaction is written"):
        block()
    assert item_ids(store) == []


def test_transaction_that_is_cut_off_inside_is_doomed(store: StateStore, proxy: Proxy) -> None:
    def block() -> None:
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            proxy.cut(reset=True)
            with pytest.raises(TransactionDoomedError):
                store.upsert_intel_item(make_item("b"))

    with pytest.raises(TransactionDoomedError):
        block()
    assert item_ids(store) == []


def test_a_write_that_was_cut_off_does_not_come_later(
    server: Server, store: StateStore, proxy: Proxy, url: str
) -> None:
    """Its session goes on at the server, and would put the old text over what was written after the repeated call."""
    schema = url.rpartition("=")[2]
    entered = threading.Event()
    with StateStore(f"{server.url}&schema={schema}") as holder:

        def write() -> None:
            assert entered.wait(TIMEOUT)
            store.upsert_intel_item(make_item("a", title="first"))
            store.upsert_intel_item(make_item("a", title="second"))

        def hold() -> int:
            with holder.transaction():
                entered.set()
                waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                while not (before := server.ask(waiting)):
                    pass
                proxy.cut()
                while not (after := server.ask(waiting)) or after == before:
                    pass
            return len(after)

        waiters = in_threads([write, hold])[1]
        assert waiters == 1, "the session that was cut off still waits for the lock"
        found = holder.get_intel_item("a")
        assert found is not None
        assert found["title"] == "second"


def test_sessions_that_are_all_cut_are_replaced(store: StateStore, proxy: Proxy) -> None:
    for number in range(5):
        in_threads([lambda: store.upsert_intel_item(make_item("a")), lambda: item_ids(store)] * 4)
        proxy.cut(reset=number % 2 == 0)
    with pytest.raises(IntelItemNotFoundError):
        store.decide("nothing", "promote")
