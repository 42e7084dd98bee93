"""The read-only stand-in for `sqlite3.Connection`."""

from __future__ import annotations

import copy
import math
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import (
    InvalidTypeError,
    InvalidValueError,
    QueryError,
    ReadOnlyError,
    Row,
    StateStore,
)

from tests.helpers import everything, in_thread, in_threads, item_ids, make_item

REFUSED = [
    "INSERT INTO runs VALUES ('r', 't', 's', NULL, 'x', '{}', NULL)",
    "INSERT INTO telemetry SELECT run_id, '{}', 'now' FROM runs RETURNING run_id",
    "WITH x(a) AS (SELECT 'run-1') UPDATE runs SET status = 'x' WHERE run_id IN (SELECT a FROM x)",
    "UPDATE runs SET status = 'x'",
    "DELETE FROM intel_items",
    "REPLACE INTO telemetry VALUES ('run-1', '{}', 'now')",
    "CREATE TABLE t (x)",
    "CREATE TEMP TABLE t (x)",
    "CREATE TEMP VIEW runs AS SELECT 1 AS run_id",
    "CREATE INDEX i ON runs (status)",
    "DROP TABLE telemetry",
    "ALTER TABLE runs RENAME TO walks",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT s",
    "RELEASE s",
    "ROLLBACK TO s",
    "ATTACH ':memory:' AS other",
    "ATTACH DATABASE 'other.db' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'copy.db'",
    "ANALYZE",
    "REINDEX",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA foreign_keys(0)",
    "PRAGMA query_only = OFF",
    "PRAGMA query_only = ON",
    "PRAGMA writable_schema = ON",
    "PRAGMA trusted_schema = ON",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA user_version = 99",
    "PRAGMA main.user_version = 99",
    "PRAGMA application_id = 1",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA cache_size = 1",
    "PRAGMA mmap_size = 1000000",
    "PRAGMA temp_store_directory = '/tmp'",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA busy_timeout = 0",
    "PRAGMA read_uncommitted = ON",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA wal_checkpoint",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA optimize",
    "PRAGMA incremental_vacuum",
    "  /* a comment */ DELETE FROM intel_items",
    "-- a comment\nDELETE FROM intel_items",
]


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside a transaction"])
@pytest.mark.parametrize("sql", REFUSED)
def test_anything_but_a_pure_read_is_refused_and_does_nothing(store: StateStore, sql: str, inside: bool) -> None:
    store.upsert_intel_item(make_item("a"))
    before = everything(store)
    files = sorted(entry.name for entry in store.db_path.parent.iterdir())
    if inside:
        with store.transaction():
            store.upsert_intel_item(make_item("b"))
            with pytest.raises(ReadOnlyError):
                store.connection.execute(sql)
            assert in_thread(item_ids, store) == ["a"]
            store.upsert_intel_item(make_item("c"))
        assert item_ids(store) == ["a", "b", "c"]
    else:
        with pytest.raises(ReadOnlyError):
            store.connection.execute(sql)
        assert everything(store) == before
        store.upsert_intel_item(make_item("b"))
        assert in_thread(item_ids, store) == ["a", "b"]
    assert sorted(entry.name for entry in store.db_path.parent.iterdir()) == files


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1; DELETE FROM runs",
        "SELECT 1;;COMMIT",
        "SELECT load_extension('nowhere')",
        "SELECT * FROM nowhere",
        "SELECT nothing FROM runs",
        'SELECT "run-1"',
        "SELEC 1",
        "SELECT 1 FROM runs WHERE run_id = 'open",
    ],
)
def test_wrong_sql_and_several_statements_are_errors(store: StateStore, sql: str) -> None:
    before = everything(store)
    with pytest.raises((QueryError, ReadOnlyError)):
        store.connection.execute(sql)
    assert everything(store) == before


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT 1;", " SELECT 1 ; ", "SELECT 1; -- the end", "VALUES (1)"])
def test_one_statement_may_be_ended_and_commented(store: StateStore, sql: str) -> None:
    assert store.connection.execute(sql).fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("sql", "first"),
    [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA foreign_keys", 1),
        ("PRAGMA integrity_check", "ok"),
        ("PRAGMA quick_check", "ok"),
        ("PRAGMA encoding", "UTF-8"),
        ("PRAGMA table_info(runs)", 0),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT sum(i) FROM n", 6),
        ("SELECT count(*) FROM sqlite_master WHERE name = 'runs'", 1),
        ("SELECT json_extract('{\"a\": 5}', '$.a')", 5),
    ],
)
def test_pure_reads_of_all_kinds(store: StateStore, sql: str, first: Any) -> None:
    row = store.connection.execute(sql).fetchone()
    assert row is not None
    assert row[0] == first


def test_explain_is_a_read(store: StateStore) -> None:
    plan = store.connection.execute("EXPLAIN QUERY PLAN SELECT * FROM intel_items WHERE run_id = ?", ("r",)).fetchall()
    assert any("idx_intel_items_run_id" in row["detail"] for row in plan)


def test_rows_by_position_and_by_name(store: StateStore) -> None:
    row = store.connection.execute("SELECT run_id, run_type AS kind, 5, NULL AS empty FROM runs").fetchone()
    assert isinstance(row, Row)
    assert tuple(row) == ("run-1", "daily", 5, None)
    assert (row[0], row[-1], row[1:3]) == ("run-1", None, ("daily", 5))
    assert (row["run_id"], row["KIND"], row["empty"]) == ("run-1", "daily", None)
    assert row.keys() == ["run_id", "kind", "5", "empty"]
    assert dict(row)["kind"] == "daily"
    assert list(row) == ["run-1", "daily", 5, None]
    with pytest.raises(IndexError, match="status"):
        row["status"]
    with pytest.raises(IndexError):
        row[4]
    for twin in (copy.copy(row), pickle.loads(pickle.dumps(row))):
        assert (twin, twin["kind"]) == (row, "daily")


def test_names_of_columns_are_told_in_one_line(store: StateStore) -> None:
    row = store.connection.execute("SELECT 1 AS 'a\n  b', max(1,\r\n    2)").fetchone()
    with pytest.raises(IndexError, match=r"^no column named 'c'; the columns are a b, max\(1, 2\)$"):
        row["c"]


def test_cursor_gives_each_row_once(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(name) for name in "abcdef")
    cursor = store.connection.execute("SELECT item_id FROM intel_items ORDER BY item_id")
    assert [column[0] for column in cursor.description] == ["item_id"]
    assert cursor.fetchone() == ("a",)
    assert cursor.fetchmany(2) == [("b",), ("c",)]
    assert next(iter(cursor)) == ("d",)
    assert cursor.fetchall() == [("e",), ("f",)]
    assert (cursor.fetchone(), cursor.fetchall(), list(cursor)) == (None, [], [])


def test_rows_are_those_of_the_call_whatever_is_written_since(store: StateStore) -> None:
    cursor = store.connection.execute("SELECT run_id FROM runs ORDER BY run_id")
    store.start_run("run-2", "daily", {})
    assert cursor.fetchall() == [("run-1",)]


def test_repr_says_what_there_is(store: StateStore, path: Path) -> None:
    connection = store.connection
    cursor = connection.execute("SELECT run_id, 1 AS n FROM runs UNION ALL SELECT 'last', 2")
    assert repr(connection) == f"<Connection {str(path)!r}, open, only reads>"
    assert repr(cursor) == "<Cursor of run_id, n; rows left: 2>"
    assert repr(next(iter(cursor))) == "<Row run_id='run-1', n=1>"
    assert repr(cursor) == "<Cursor of run_id, n; rows left: 1>"
    store.close()
    assert repr(connection) == f"<Connection {str(path)!r}, closed, only reads>"


def test_same_object_within_a_thread(store: StateStore) -> None:
    assert store.connection is store.connection
    assert store._conn is store.connection
    connections = in_threads([lambda: store.connection] * 3)
    assert len({id(each) for each in [*connections, store.connection]}) == 4


def test_connection_of_one_thread_works_in_another(store: StateStore) -> None:
    assert in_thread(store.connection.execute, "SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "content",
    [None, 0, 1, -1, True, 2**63 - 1, -(2**63), 1.5, -0.0, math.inf, 5e-324, "", "text", "a\0b", "😀", b"", b"\0\xff"],
    ids=repr,
)
def test_parameters_come_back_equal(store: StateStore, content: Any) -> None:
    execute = store.connection.execute
    for row in (
        execute("SELECT ?", (content,)).fetchone(),
        execute("SELECT ?", [content]).fetchone(),
        execute("SELECT :x", {"x": content}).fetchone(),
        execute("SELECT :x", {"x": content, "not used": 1}).fetchone(),
        execute("SELECT ?2", (None, content)).fetchone(),
    ):
        assert row is not None
        assert repr(row[0]) == repr(1 if content is True else content)


def test_many_parameters_keep_their_places(store: StateStore) -> None:
    sql = "SELECT " + ", ".join(["?"] * 900)
    assert store.connection.execute(sql, range(900)).fetchone() == tuple(range(900))
    assert store.connection.execute("SELECT :b, :a, :b", {"a": 1, "b": 2}).fetchone() == (2, 1, 2)


@pytest.mark.parametrize(
    ("sql", "parameters", "error"),
    [
        ("SELECT ?", (), QueryError),
        ("SELECT ?", (1, 2), QueryError),
        ("SELECT 1", (1,), QueryError),
        ("SELECT :x", {}, QueryError),
        ("SELECT :x, :y", {"x": 1}, QueryError),
        ("SELECT ?", (object,), InvalidTypeError),
        ("SELECT ?", ([1],), InvalidTypeError),
        ("SELECT :x", {"x": {}}, InvalidTypeError),
        ("SELECT ?", (2**63,), InvalidValueError),
        ("SELECT ?", (-(2**63) - 1,), InvalidValueError),
        ("SELECT ?", ("\ud800",), InvalidValueError),
        ("SELECT ?", 5, TypeError),
        ("SELECT ?", None, TypeError),
        (b"SELECT 1", (), TypeError),
        (None, (), TypeError),
    ],
    ids=repr,
)
def test_parameters_that_do_not_fit_are_refused(store: StateStore, sql: Any, parameters: Any, error: Any) -> None:
    with pytest.raises(error):
        store.connection.execute(sql, parameters)
    assert store.connection.execute("SELECT 1").fetchall() == [(1,)]


def test_old_programs_catch_sqlite3_errors(store: StateStore) -> None:
    with pytest.raises(sqlite3.OperationalError):
        store._conn.execute("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.OperationalError):
        store._conn.execute("DELETE FROM runs")
