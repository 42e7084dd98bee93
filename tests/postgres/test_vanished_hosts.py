"""Hosts that vanish without a word: nobody waits for them for longer than was agreed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from orchestrator.state_store import (
    CommitOutcomeUnknownError,
    StateStore,
    StateStoreError,
    StorageIOError,
    TransactionDoomedError,
)

from tests.helpers import in_threads, item_ids, make_item
from tests.servers import Server
from tests.servers.proxy import Proxy

PATIENCE = 2.0


@pytest.fixture
def schema(url: str) -> str:
    return url.rpartition("=")[2]


@pytest.fixture
def store(server: Server, schema: str) -> Iterator[StateStore]:
    """Open a store of a host that stays."""
    with StateStore(f"{server.url}&schema={schema}", busy_timeout=60) as store:
        store.start_run("run-1", "daily", {})
        yield store


@pytest.fixture
def vanishing(server: Server, proxy: Proxy, schema: str, store: StateStore) -> Iterator[StateStore]:
    """Open a store of a host that will vanish."""
    url = f"{server.url_of(proxy.port)}&schema={schema}&transaction_idle_timeout=1"
    with StateStore(url, busy_timeout=PATIENCE) as vanishing:
        yield vanishing
        proxy.pass_on()


def seconds(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def test_others_write_soon_after_a_host_has_vanished_in_a_transaction(
    vanishing: StateStore, store: StateStore, proxy: Proxy
) -> None:
    block = vanishing.transaction()
    block.__enter__()
    vanishing.upsert_intel_item(make_item("a"))
    proxy.swallow()
    took = in_threads([lambda: seconds(lambda: store.upsert_intel_item(make_item("b")))])[0]
    print("seconds:", took)
    assert took < 1.0 + 1.0

    def leave() -> float:
        with pytest.raises((CommitOutcomeUnknownError, TransactionDoomedError)):
            block.__exit__(None, None, None)
        return 0.0

    assert seconds(leave) < 5 * PATIENCE
    assert item_ids(store) == ["b"]


CALLS: dict[str, tuple[type[StateStoreError], Callable[[StateStore], object]]] = {
    "upsert": (CommitOutcomeUnknownError, lambda store: store.upsert_intel_item(make_item("a"))),
    "start_run": (CommitOutcomeUnknownError, lambda store: store.start_run("run-2", "daily", {})),
    "list": (StorageIOError, item_ids),
    "transaction": (StorageIOError, lambda store: store.transaction().__enter__()),
    "query": (StorageIOError, lambda store: store.connection.execute("SELECT 1")),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_to_a_server_that_has_vanished_ends(
    vanishing: StateStore, store: StateStore, proxy: Proxy, call: str
) -> None:
    error, function = CALLS[call]
    vanishing.upsert_intel_item(make_item("before"))
    item_ids(vanishing)
    proxy.swallow()

    def fail() -> None:
        with pytest.raises(error) as caught:
            function(vanishing)
        assert "\n" not in str(caught.value)

    took = seconds(fail)
    print("seconds:", took)
    assert PATIENCE * 0.8 < took < PATIENCE + 5
    proxy.cut()
    proxy.pass_on()
    vanishing.upsert_intel_item(make_item("after"))
    assert "after" in item_ids(store)


def test_a_store_whose_server_has_vanished_closes(server: Server, proxy: Proxy, schema: str, store: StateStore) -> None:
    vanishing = StateStore(f"{server.url_of(proxy.port)}&schema={schema}", busy_timeout=PATIENCE)
    vanishing.run("run-2", "daily", {}).__enter__()
    proxy.swallow()
    assert seconds(vanishing.close) < 15


def test_work_that_takes_longer_than_busy_timeout_is_not_cut_off(
    server: Server, store: StateStore, schema: str
) -> None:
    """`busy_timeout` is for waits: a server that works is waited for."""
    with StateStore(f"{server.url}&schema={schema}", busy_timeout=0.5) as hasty:
        assert hasty.connection.execute("SELECT 7 FROM pg_sleep(3)").fetchall()[0][0] == 7
        server.ask(
            f"""CREATE FUNCTION {schema}.slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM sum(n) FROM generate_series(1, 10000000) n; RETURN NEW; END $$;
            CREATE TRIGGER slow BEFORE INSERT ON {schema}.intel_items FOR EACH ROW EXECUTE FUNCTION {schema}.slow()"""
        )
        begun = time.monotonic()
        hasty.upsert_intel_item(make_item("slow"))
        assert time.monotonic() - begun > 0.6
        assert item_ids(store) == ["slow"]
