"""Ad-hoc SQL: what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from orchestrator.state_store import QueryError, ReadOnlyError, StateStore, StateStoreError

from tests import servers
from tests.helpers import item_ids, make_item

REFUSED: dict[str, tuple[type[StateStoreError], str]] = {
    "a program": (ReadOnlyError, "COPY intel_items TO PROGRAM 'cat > /tmp/stolen'"),
    "several statements": (QueryError, "SELECT 1; DELETE FROM intel_items"),
    "a commit behind it": (QueryError, "SELECT 1; COMMIT"),
    "COMMIT": (ReadOnlyError, "COMMIT"),
    "a comment before it": (ReadOnlyError, "/* SELECT */ -- SELECT\n COMMIT"),
    "a deletion": (ReadOnlyError, "DELETE FROM intel_items"),
    "a deletion in WITH": (ReadOnlyError, "WITH gone AS (DELETE FROM intel_items RETURNING 1) SELECT * FROM gone"),
    "a deletion in EXPLAIN": (ReadOnlyError, "EXPLAIN ANALYZE DELETE FROM intel_items"),
    "a table": (ReadOnlyError, "SELECT * INTO copied FROM intel_items"),
    "a setting": (ReadOnlyError, "SELECT set_config('transaction_read_only', 'off', true)"),
    "a setting, quoted": (ReadOnlyError, "SELECT pg_catalog.\"set_config\" ('a.b', 'c', false)"),
    "SET": (ReadOnlyError, "SET transaction_read_only = off"),
    "a lock": (ReadOnlyError, "SELECT pg_advisory_lock(1)"),
    "a lock, tried": (ReadOnlyError, "SELECT PG_TRY_ADVISORY_XACT_LOCK_SHARED(1)"),
    "a row lock": (ReadOnlyError, "SELECT * FROM intel_items FOR UPDATE"),
    "a number": (ReadOnlyError, "SELECT nextval('recorded')"),
    "a function that writes": (ReadOnlyError, "SELECT set_telemetry_1('run-1', '{}')"),
    "a procedure": (ReadOnlyError, "DO $$ BEGIN DELETE FROM intel_items; END $$"),
}


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("what", REFUSED)
def test_only_reads_are_allowed(store: StateStore, what: str, inside: bool) -> None:
    error, sql = REFUSED[what]
    store.upsert_intel_item(make_item("a"))

    def refuse() -> None:
        with pytest.raises(error) as caught:
            store.connection.execute(sql)
        assert "\n" not in str(caught.value)

    if inside:
        with store.transaction():
            refuse()
            store.upsert_intel_item(make_item("b"))
    else:
        refuse()
    assert item_ids(store) == (["a", "b"] if inside else ["a"])
    assert store.get_telemetry("run-1") is None


def test_what_a_function_leaves_is_undone(store: StateStore, url: str) -> None:
    """A function of one's own may do what a query may not name."""
    schema = url.rpartition("=")[2]

    def ask(sql: str) -> Any:
        import psycopg

        with psycopg.connect(servers.shared(), autocommit=True) as session:
            cursor = session.execute(sql.encode())
            return cursor.fetchall() if cursor.description else None

    ask(
        f"""CREATE FUNCTION {schema}.sly() RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_lock(77);
            PERFORM set_config('search_path', 'nowhere', false);
            RETURN 'done';
        END $$"""
    )
    calls: list[Callable[[], object]] = [
        lambda: store.connection.execute("SELECT sly()").fetchall(),
        lambda: store.connection.execute("SELECT sly(), 1/0"),
    ]
    for call in calls:
        try:
            call()
        except QueryError:
            assert call is calls[1]
        assert ask("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 77") == []
        assert store.connection.execute("SELECT count(*) FROM runs").fetchall()[0][0] == 1
