"""What others have in the same database: tables that refer to ours, triggers, publications, functions, and settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from orchestrator.state_store import Deleted, InvalidValueError, StateStore, copy_store
from orchestrator.state_store._postgres.pruning import Prune

from tests import servers
from tests.helpers import in_threads, item_ids, make_item
from tests.postgres.test_views import sql_blocks
from tests.servers import Server

TIMEOUT = 20.0


@pytest.fixture
def schema(url: str) -> str:
    return url.rpartition("=")[2]


def ask(sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        cursor = session.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def fill(store: StateStore, *run_ids: str) -> None:
    """Record finished runs, with two items and telemetry each."""
    for run_id in run_ids:
        store.start_run(run_id, "daily", {})
        store.upsert_intel_items_batch(make_item(f"{run_id}-{number}", run_id) for number in range(2))
        store.write_telemetry(run_id, {})
        store.finish_run(run_id, "completed")


@pytest.mark.parametrize(
    "column",
    [
        "item_id text REFERENCES intel_items",
        "item_id text REFERENCES intel_items DEFERRABLE INITIALLY DEFERRED",
        "item_id text REFERENCES whole ON DELETE CASCADE",
    ],
)
def test_prune_leaves_runs_that_rows_of_others_refer_to(store: StateStore, schema: str, column: str) -> None:
    """Hidden, and then not deleted, such a run would be in nobody's lists and in everybody's way."""
    fill(store, "a", "b", "c")
    ask(f"""SET search_path = {schema};
        CREATE TABLE whole (item_id text PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE);
        INSERT INTO whole VALUES ('b-1');
        CREATE TABLE comments ({column.replace(" ON DELETE CASCADE", "")});
        INSERT INTO comments VALUES ('b-1')""")
    for deleted in ("2 runs, 4 items, 2 telemetry documents", "0 runs, 0 items, 0 telemetry documents"):
        with pytest.raises(InvalidValueError, match=r'^prune: .* 1 of the runs.*run "b" \(.*comments') as caught:
            store.prune(older_than=0)
        assert str(caught.value).endswith(f"all others are deleted: {deleted}")
        assert [run.run_id for run in store.list_runs()] == ["b", "run-1"]
        assert item_ids(store, "b") == ["b-0", "b-1"]
        assert store.get_telemetry("b") == {}
    ask(f"DELETE FROM {schema}.comments")
    assert store.prune(older_than=0) == Deleted(1, 2, 1)
    assert ask(f"SELECT * FROM {schema}.whole") == []


def test_run_that_came_again_meanwhile_is_not_pruned_though_rows_of_others_refer_to_ours(
    store: StateStore, url: str, schema: str
) -> None:
    fill(store, "a", "b")
    ask(f"CREATE TABLE {schema}.comments (item_id text REFERENCES {schema}.intel_items)")
    with StateStore(url) as other, psycopg.connect(servers.shared()) as session:
        # It has locked the run as an upsert does that is not committed.
        session.execute(f"SELECT FROM {schema}.runs WHERE run_id = 'b' FOR KEY SHARE".encode())
        session.execute(f"UPDATE {schema}.intel_items SET updated_at = '9999' WHERE item_id = 'b-1'".encode())

        def commit() -> None:
            until_waits()
            session.commit()

        assert in_threads([lambda: other.prune(older_than=0), commit])[0] == Deleted(1, 2, 1)
    assert item_ids(store, "b") == ["b-0", "b-1"]


def until_waits() -> None:
    limit = time.monotonic() + TIMEOUT
    while not ask("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_warning_of_a_trigger_is_none_of_the_commit(store: StateStore, schema: str) -> None:
    """It would be repeated until `busy_timeout`, and its outcome called unknown."""
    ask(f"""CREATE FUNCTION {schema}.warn() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO {schema}.fired VALUES (1); RAISE WARNING 'x'; RETURN coalesce(NEW, OLD); END $$;
        CREATE TABLE {schema}.fired (n integer);
        CREATE TRIGGER warn BEFORE INSERT OR DELETE ON {schema}.intel_items FOR EACH ROW
            EXECUTE FUNCTION {schema}.warn();
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {schema}.telemetry DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            EXECUTE FUNCTION {schema}.warn()""")
    store.upsert_intel_item(make_item("a"))
    store.delete_intel_item("a")
    store.write_telemetry("run-1", {})
    assert ask(f"SELECT count(*) FROM {schema}.fired") == [(3,)]


@contextmanager
def published() -> Iterator[Server]:
    """Start a server whose tables are all published."""
    with Server({"wal_level": "logical", "max_wal_senders": "2"}) as server:
        server.ask("CREATE PUBLICATION everything FOR ALL TABLES")
        yield server


def test_all_tables_can_be_published(store: StateStore, url: str) -> None:
    """As it is done before an upgrade: without a replica identity, the server refuses to change a row."""
    fill(store, "a")
    with published() as server:
        copy_store(url, server.url)
        with StateStore(server.url) as there:
            fill(there, "b")
            server.ask("UPDATE orchestrator.intel_items SET created_at = '2020'")
            for _ in range(2):
                there.upsert_intel_items_batch([make_item("b-0", "b"), make_item("b-1", "b")])
                server.ask("UPDATE orchestrator.item_seen SET seen_at = '2020'")
            assert server.ask("SELECT count(*) FROM orchestrator.item_seen") == [(2,)]
            with there.transaction():
                there.delete_run("b")
            assert there.prune(older_than=0) == Deleted(1, 2, 1)
            # A subscriber's sequence is where it began.
            server.ask("ALTER SEQUENCE orchestrator.recorded RESTART")
            [setval] = [block for block in sql_blocks() if "setval" in block]
            server.ask(setval)
            there.start_run("last", "daily", {})
            assert there.list_runs()[0].run_id == "last"
        tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'orchestrator'::regnamespace"
        without = server.ask(f"""{tables} AND NOT relreplident = 'f'
            AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)""")
        assert without == []


def test_functions_of_others_in_the_schema_stay_as_they_are() -> None:
    sql = "SELECT has_function_privilege('public', {}, 'EXECUTE')"
    with Server() as server:
        server.ask("CREATE FUNCTION public.mine(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")
        server.ask("CREATE FUNCTION public.unescape(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'")
        StateStore(f"{server.url}&schema=public").close()
        for name in ("public.mine(text)", "public.unescape(bytea)"):
            assert server.ask(sql.format(f"'{name}'")) == [(True,)]
        assert server.ask(sql.format("'public.unescape(text)'")) == [(False,)]
        ours = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proacl IS NULL"
        assert server.ask(ours) == [(2,)]


@pytest.mark.parametrize(
    ("name", "style"), [("DateStyle", "German"), ("DateStyle", "SQL"), ("IntervalStyle", "iso_8601")]
)
def test_style_of_dates_does_not_matter(store: StateStore, url: str, schema: str, name: str, style: str) -> None:
    role = f"styled_{schema}"
    ask(f"CREATE ROLE {role} LOGIN SUPERUSER")
    ask(f'ALTER ROLE {role} SET "{name}" = {style}')
    fill(store, "a")
    with StateStore(url.replace("user=postgres", f"user={role}")) as styled:
        sql = "SELECT timestamptz '2026-01-02T03:04:05Z' - timestamptz '2026-01-01T00:00:00Z', now()"
        [(span, now)] = styled.connection.execute(sql)
        assert (span.days, span.seconds, now.tzinfo is not None) == (1, 11045, True)
        assert styled.prune(older_than=0) == Deleted(1, 2, 1)


def test_telemetry_that_is_written_during_the_first_merge_is_not_lost(store: StateStore, schema: str) -> None:
    """There was no row to lock: the document was read before it was written, and put over it later."""
    begun = threading.Event()

    def merge() -> None:
        with psycopg.connect(servers.shared()) as session:
            session.execute(f"SELECT document FROM {schema}.take_telemetry_1(10000, 'run-1', false)".encode())
            begun.set()
            until_waits()
            session.execute(f"SELECT {schema}.set_telemetry_1('run-1', '{{}}')".encode())

    def write() -> None:
        assert begun.wait(TIMEOUT)
        store.write_telemetry("run-1", {"written": 1})

    in_threads([merge, write])
    assert store.get_telemetry("run-1") == {"written": 1}


def test_prune_decides_by_one_moment(store: StateStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its reads, the runs that it keeps may be deleted."""
    fill(store, "a", "b")
    restrict = Prune._restrict

    def delete_between(self: Prune, condition: str, value: Any) -> None:
        if condition.startswith("seq"):
            with StateStore(url) as other:
                other.delete_run("b")
        restrict(self, condition, value)

    monkeypatch.setattr(Prune, "_restrict", delete_between)
    assert store.prune(keep_last=1) == Deleted(1, 2, 1)
