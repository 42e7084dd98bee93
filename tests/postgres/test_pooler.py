"""Stores behind a pooler that gives each transaction another session: nothing is kept in one, nothing is left there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from orchestrator.state_store import CannotOpenError, QueryError, StateStore, StoreBusyError

from tests.conformance.seen import assert_sound
from tests.helpers import Peer, in_threads, item_ids, make_item, put
from tests.programs import on_servers
from tests.servers import Server
from tests.servers.pooler import Pooler


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def pooler(server: Server, tool: Callable[[str], str]) -> Iterator[Pooler]:
    tool("pgbouncer")
    with Pooler(server) as pooler:
        yield pooler


@pytest.fixture
def pooled(pooler: Pooler, url: str) -> str:
    """Return the URL of a store that does not exist yet."""
    return f"{pooler.url}&schema={url.rpartition('=')[2]}"


LEFT = """SELECT
    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    current_setting('search_path'), current_setting('lock_timeout'), current_setting('transaction_read_only'),
    current_setting('idle_in_transaction_session_timeout'),
    coalesce(current_setting('state_store.written', true), '')"""
"""What calls could have left in a session."""


def left_behind(server: Server, pooler: Pooler) -> set[tuple[object, ...]]:
    """Return what is left in the sessions of the pooler, as each of them sees it."""
    import psycopg

    found: set[tuple[object, ...]] = set()
    with ExitStack() as stack:
        # As many transactions at once as there are sessions: each has another.
        for _ in range(len(server.ask("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")) - 1):
            client = stack.enter_context(psycopg.connect(pooler.url.partition("?")[0], prepare_threshold=None))
            found |= set(client.execute(LEFT).fetchall())
    return found


def test_many_processes_share_few_sessions(
    server: Server, pooler: Pooler, pooled: str, pytestconfig: pytest.Config
) -> None:
    processes, rounds = (40, 2) if pytestconfig.getoption("--full") else (6, 4)
    with StateStore(pooled) as store, ExitStack() as stack:
        store.start_run("run-1", "daily", {})
        peers = [
            stack.enter_context(Peer(on_servers.use_all, pooled, f"p{number}", 8, rounds))
            for number in range(processes)
        ]
        for peer in peers:
            peer.hear()
        for peer in peers:
            peer.tell()
        assert [peer.result() for peer in peers] == [8 * rounds] * processes
        found = store.get_intel_item("sum")
        assert found is not None
        assert found["claims_json"] == processes * 8 * rounds
        assert store.count_intel_items() == 1 + processes * 8 * rounds
        assert store.check() == []
    assert left_behind(server, pooler) == {(0, 0, 0, '"$user", public', "0", "off", "0", "")}
    assert len(server.ask("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")) <= 21


def test_one_session_is_enough(server: Server, pooled: str) -> None:
    """Who keeps one and waits for another waits for ever once there are as many of them as sessions."""
    with Pooler(server, sessions=1) as narrow:
        url = pooled.replace(pooled.partition("?")[0], narrow.url.partition("?")[0])
        with StateStore(url) as store, StateStore(url) as other, store.run("run-1", "daily", {}):
            with store.transaction():
                put(store, "a")
            in_threads([lambda: put(store, "b"), lambda: put(other, "c")] * 4)
            assert sorted(item_ids(other)) == ["a", "b", "c"]
            assert store.check() == []


def test_a_lock_that_a_query_has_taken_is_let_go(server: Server, pooled: str) -> None:
    schema = pooled.rpartition("=")[2]
    with StateStore(pooled) as store:
        server.ask(f"""CREATE FUNCTION {schema}.sly() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(1)'""")
        for sql in ("SELECT sly()", "SELECT sly(), 1/0"):
            with suppress(QueryError):
                store.connection.execute(sql)
        in_threads([lambda: item_ids(store)] * 4)
    assert server.ask("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []


def test_a_long_transaction_ends_at_busy_timeout_for_others(pooled: str) -> None:
    with StateStore(pooled) as store, StateStore(pooled, busy_timeout=1) as other:
        store.start_run("run-1", "daily", {})
        with store.transaction():
            store.upsert_intel_item(make_item("a"))

            def wait() -> None:
                with pytest.raises(StoreBusyError):
                    other.upsert_intel_item(make_item("b"))

            in_threads([wait])
        assert_sound(store)
        assert item_ids(store) == ["a"]


def test_settings_of_the_role_that_would_lose_writes_are_refused(server: Server, pooled: str) -> None:
    for setting in (
        "synchronous_commit = off",
        "default_transaction_isolation = 'repeatable read'",
        "client_min_messages = error",
    ):
        server.ask(f"ALTER ROLE postgres SET {setting}")
        try:
            with Pooler(server) as fresh, pytest.raises(CannotOpenError, match=setting.partition(" ")[0]):
                StateStore(pooled.replace(pooled.partition("?")[0], fresh.url.partition("?")[0]))
        finally:
            server.ask(f"ALTER ROLE postgres RESET {setting.partition(' ')[0]}")
