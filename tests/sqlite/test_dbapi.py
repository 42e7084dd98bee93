"""`connection` as DB-API 2.0 has it: what only reads takes it for a `sqlite3.Connection`; what writes is told."""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
import weakref
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from orchestrator.state_store import (
    Connection,
    Cursor,
    InvalidTypeError,
    InvalidValueError,
    MissingFieldError,
    QueryError,
    ReadOnlyError,
    Row,
    StateStore,
    StoreClosedError,
)

from tests.helpers import everything, in_thread, item_ids, make_item

NUMBERS = "SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3"


def names_of(cursor: Cursor) -> list[str]:
    return [name for name, *_ in cursor.description]


class TestCursor:
    def test_it_runs_one_statement_after_another(self, store: StateStore) -> None:
        cursor = store.connection.cursor()
        assert cursor.execute(NUMBERS) is cursor
        assert (names_of(cursor), cursor.fetchone()) == (["n"], (1,))
        cursor.execute("SELECT run_id, ? AS kind FROM runs", ["x"])
        assert (names_of(cursor), cursor.fetchall()) == (["run_id", "kind"], [("run-1", "x")])
        cursor.execute("SELECT run_id FROM runs WHERE run_id = :none", {"none": None})
        assert (names_of(cursor), cursor.fetchall()) == (["run_id"], [])

    def test_it_has_nothing_before_the_first_statement(self, store: StateStore) -> None:
        cursor = store.connection.cursor()
        assert (cursor.description, cursor.rowcount, cursor.connection) == (None, -1, store.connection)
        assert (cursor.fetchone(), cursor.fetchmany(5), cursor.fetchall(), list(cursor)) == (None, [], [], [])
        assert repr(cursor) == "<Cursor of nothing yet; rows left: 0>"

    def test_a_statement_that_fails_leaves_no_rows_of_the_one_before(self, store: StateStore) -> None:
        cursor = store.connection.execute(NUMBERS)
        for sql, error in (("SELECT * FROM nowhere", QueryError), ("DELETE FROM runs", ReadOnlyError)):
            with pytest.raises(error):
                cursor.execute(sql)
            assert (cursor.description, cursor.fetchall()) == (None, [])

    def test_it_is_an_iterator(self, store: StateStore) -> None:
        cursor = store.connection.execute(NUMBERS)
        assert iter(cursor) is cursor
        assert [next(cursor), *cursor] == [(1,), (2,), (3,)]
        with pytest.raises(StopIteration):
            next(cursor)

    def test_fetchmany_takes_arraysize_where_it_is_not_told(self, store: StateStore) -> None:
        cursor = store.connection.execute(NUMBERS)
        assert cursor.fetchmany() == [(1,)]
        cursor.arraysize = 5
        assert cursor.fetchmany() == [(2,), (3,)]
        for size, expected in ((0, []), (2, [(1,), (2,)]), (9, [(1,), (2,), (3,)])):
            assert store.connection.execute(NUMBERS).fetchmany(size) == expected

    def test_fetchmany_refuses_a_negative_size(self, store: StateStore) -> None:
        """It once returned no row, where `sqlite3` returned all of them, and lately refuses."""
        cursor = store.connection.execute(NUMBERS)
        with pytest.raises(InvalidValueError, match=r"^fetchmany: size must be 0 or more, not -1$"):
            cursor.fetchmany(-1)
        cursor.arraysize = -2
        with pytest.raises(InvalidValueError, match=r"^fetchmany: size must be 0 or more, not -2$"):
            cursor.fetchmany()
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]

    def test_a_closed_one_is_refused(self, store: StateStore) -> None:
        """It once had no rows then, and could be used again; that of `sqlite3` refuses."""
        with contextlib.closing(store.connection.execute(NUMBERS)) as cursor:
            assert cursor.fetchone() == (1,)
        cursor.close()
        for use in (
            cursor.fetchone,
            cursor.fetchmany,
            cursor.fetchall,
            lambda: next(cursor),
            lambda: list(cursor),
            lambda: cursor.execute(NUMBERS),
        ):
            with pytest.raises(QueryError, match=r"^the cursor is closed"):
                use()
        assert (names_of(cursor), repr(cursor)) == (["n"], "<Cursor of n; closed>")
        assert store.connection.execute(NUMBERS).fetchall() == [(1,), (2,), (3,)]

    def test_it_sees_its_owners_transaction_and_nobody_else_does(self, store: StateStore) -> None:
        cursor = store.connection.cursor()
        count = "SELECT count(*) FROM intel_items"
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            assert cursor.execute(count).fetchone() == (1,)
            assert in_thread(lambda: store.connection.cursor().execute(count).fetchone()) == (0,)

    def test_it_fails_on_a_closed_store(self, store: StateStore) -> None:
        cursor = store.connection.cursor()
        store.close()
        for call in (cursor.execute, store.connection.execute):
            with pytest.raises(StoreClosedError):
                call("SELECT 1")


class TestRowFactory:
    def test_rows_come_as_rows_at_first(self, store: StateStore) -> None:
        assert store.connection.row_factory is Row
        assert isinstance(store.connection.execute(NUMBERS).fetchone(), Row)

    @pytest.mark.parametrize("factory", [Row, sqlite3.Row])
    def test_rows_by_name(self, store: StateStore, factory: Any) -> None:
        store.connection.row_factory = None
        store.connection.row_factory = factory
        row = store.connection.execute("SELECT run_id, 1 AS n FROM runs").fetchone()
        assert (row["RUN_ID"], row[1], row.keys(), row.values()) == ("run-1", 1, ["run_id", "n"], ["run-1", 1])
        assert dict(row) == {"run_id": "run-1", "n": 1}
        assert pickle.loads(pickle.dumps(row)) == row

    def test_none_means_tuples(self, store: StateStore) -> None:
        store.connection.row_factory = None
        rows = [store.connection.execute(NUMBERS).fetchone(), *store.connection.execute(NUMBERS).fetchmany(1)]
        assert [(type(row), row) for row in rows] == [(tuple, (1,))] * 2

    def test_a_callable_is_given_cursor_and_values(self, store: StateStore) -> None:
        def as_dict(cursor: Cursor, values: tuple[Any, ...]) -> dict[str, Any]:
            return dict(zip(names_of(cursor), values, strict=True))

        connection = store.connection
        connection.row_factory = as_dict
        expected = [{"n": 1}, {"n": 2}, {"n": 3}]
        assert connection.execute(NUMBERS).fetchall() == list(connection.execute(NUMBERS)) == expected
        assert connection.execute(NUMBERS).fetchmany(2) == expected[:2]
        assert connection.execute(NUMBERS).fetchone() == expected[0]

    def test_that_of_a_cursor_is_its_own(self, store: StateStore) -> None:
        connection = store.connection
        before = connection.cursor()
        connection.row_factory = None
        after = connection.execute(NUMBERS)
        assert (before.row_factory, after.row_factory) == (Row, None)
        after.row_factory = lambda _, values: values[0]
        assert (after.fetchall(), connection.row_factory) == ([1, 2, 3], None)

    def test_that_of_a_thread_is_its_own(self, store: StateStore) -> None:
        store.connection.row_factory = None
        assert in_thread(lambda: store.connection.row_factory) is Row

    def test_what_it_raises_passes_untouched_and_skips_that_row(self, store: StateStore) -> None:
        def odd(_: Cursor, values: tuple[Any, ...]) -> Any:
            return 1 / (values[0] - 2)

        store.connection.row_factory = odd
        cursor = store.connection.execute(NUMBERS)
        assert cursor.fetchone() == -1
        with pytest.raises(ZeroDivisionError):
            cursor.fetchone()
        assert cursor.fetchall() == [1]

    @pytest.mark.parametrize("factory", [5, "Row", type("Mine", (sqlite3.Row,), {})], ids=["int", "str", "subclass"])
    def test_what_makes_no_row_is_refused_when_it_is_set(self, store: StateStore, factory: Any) -> None:
        for place in (store.connection, store.connection.cursor()):
            with pytest.raises(InvalidTypeError, match=r"^row_factory[^\n]*$"):
                place.row_factory = factory
            assert place.row_factory is Row


class TestWhatDoesNothing:
    def test_commit_and_rollback_leave_a_transaction_as_it_is(self, store: StateStore) -> None:
        connection = store.connection
        with store.transaction():
            store.upsert_intel_item(make_item("a"))
            connection.rollback()
            connection.commit()
            assert in_thread(item_ids, store) == []
        assert item_ids(store) == ["a"]
        connection.commit()
        connection.rollback()
        assert item_ids(store) == ["a"]

    def test_leaving_a_block_closes_nothing_and_hides_no_exception(self, store: StateStore) -> None:
        with store.connection as connection:
            assert connection is store.connection
        with pytest.raises(ZeroDivisionError), store.connection:
            _ = 1 / 0
        assert connection.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.parametrize("name", ["isolation_level", "autocommit", "text_factory", "total_changes", "row_factroy"])
    def test_it_cannot_be_set(self, store: StateStore, name: str) -> None:
        with pytest.raises(AttributeError, match=f"^'Connection' object has no attribute '{name}'[^\n]*$"):
            setattr(store.connection, name, None)
        with pytest.raises(AttributeError, match=f"^'Cursor' object has no attribute '{name}'[^\n]*$"):
            setattr(store.connection.cursor(), name, None)

    @pytest.mark.parametrize("name", ["rowcount", "description", "connection", "execute"])
    def test_what_a_cursor_says_cannot_be_set(self, store: StateStore, name: str) -> None:
        with pytest.raises(AttributeError, match=name):
            setattr(store.connection.cursor(), name, None)

    def test_a_weak_reference_can_still_be_made(self, store: StateStore) -> None:
        assert isinstance(weakref.ref(store.connection)(), Connection)


@pytest.mark.parametrize("of", [lambda store: store.connection, lambda store: store.connection.cursor()])
def test_calls_for_writing_are_refused_by_name(store: StateStore, of: Callable[[StateStore], Any]) -> None:
    before = everything(store)
    with pytest.raises(ReadOnlyError, match=r"^executemany: [^\n]*$"):
        of(store).executemany("DELETE FROM runs WHERE run_id = ?", [("run-1",)])
    with pytest.raises(ReadOnlyError, match=r"^executescript: [^\n]*$"):
        of(store).executescript("DELETE FROM runs; DELETE FROM telemetry")
    assert everything(store) == before


class TestRowsAsItems:
    SQL = "SELECT 'a' AS item_id, 'run-1' AS run_id, 'note' AS item_type, 't' AS title, 's' AS summary, 5 AS rank"

    def test_rows_of_sqlite3_and_of_the_store_are_items(self, store: StateStore) -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as other:
            other.row_factory = sqlite3.Row
            store.upsert_intel_item(other.execute(self.SQL).fetchone())
            store.upsert_intel_items_batch(other.execute(self.SQL.replace("'a'", "'b'")))
        store.upsert_intel_items_batch(store.connection.execute(self.SQL.replace("'a'", "'c'")))
        items = store.list_intel_items()
        assert [(item["item_id"], item["title"], item["claims_json"]) for item in items] == [
            (name, "t", []) for name in "abc"
        ]

    def test_a_column_that_is_missing_is_named(self, store: StateStore) -> None:
        """A row of sqlite3 raises IndexError for it."""
        with contextlib.closing(sqlite3.connect(":memory:")) as other:
            other.row_factory = sqlite3.Row
            for place in (other, store.connection):
                row = place.execute("SELECT 'a' AS item_id, 'run-1' AS run_id, 'note' AS item_type").fetchone()
                with pytest.raises(MissingFieldError, match="title is missing"):
                    store.upsert_intel_item(row)

    def test_columns_in_another_case_are_other_keys(self, store: StateStore) -> None:
        """Though both kinds of rows would find them: what is required would be taken, and what is not ignored."""
        with contextlib.closing(sqlite3.connect(":memory:")) as other:
            other.row_factory = sqlite3.Row
            for place in (other, store.connection):
                with pytest.raises(MissingFieldError, match="title is missing"):
                    store.upsert_intel_item(place.execute(self.SQL.replace("title", "TITLE")).fetchone())


@pytest.mark.filterwarnings("ignore:pandas only supports SQLAlchemy:UserWarning")
class TestPandas:
    SQL = "SELECT item_id, decision, 1.5 AS number FROM intel_items WHERE item_id > ? ORDER BY item_id"

    @pytest.fixture(autouse=True)
    def items(self, store: StateStore) -> None:
        store.upsert_intel_items_batch(make_item(name, decision=None) for name in "abcd")

    @pytest.mark.parametrize("factory", [Row, None])
    def test_a_query_becomes_a_frame(self, store: StateStore, factory: Any) -> None:
        store.connection.row_factory = factory
        frame = pd.read_sql_query(self.SQL, store.connection, params=("a",))
        assert list(frame.columns) == ["item_id", "decision", "number"]
        assert (list(frame["item_id"]), list(frame["number"])) == (["b", "c", "d"], [1.5] * 3)
        assert frame["decision"].isna().all()

    def test_named_parameters_chunks_and_no_rows(self, store: StateStore) -> None:
        named = self.SQL.replace("?", ":after")
        chunks = pd.read_sql_query(named, store.connection, params={"after": "a"}, chunksize=2)
        assert [list(chunk["item_id"]) for chunk in chunks] == [["b", "c"], ["d"]]
        empty = pd.read_sql_query(named, store.connection, params={"after": "z"})
        assert (len(empty), list(empty.columns)) == (0, ["item_id", "decision", "number"])

    def test_two_columns_of_one_name_both_arrive(self, store: StateStore) -> None:
        frame = pd.read_sql_query("SELECT 1 AS n, 2 AS n", store.connection)
        assert frame.to_numpy().tolist() == [[1, 2]]

    def test_its_errors_are_those_of_pandas(self, store: StateStore) -> None:
        with pytest.raises(pd.errors.DatabaseError, match="no such table: nowhere"):
            pd.read_sql_query("SELECT * FROM nowhere", store.connection)

    def test_to_sql_is_refused(self, store: StateStore) -> None:
        before = everything(store)
        with pytest.raises((ReadOnlyError, pd.errors.DatabaseError)):
            pd.DataFrame({"a": [1]}).to_sql("t", store.connection)
        assert everything(store) == before


def test_pandas_warns_of_whatever_is_no_connection_of_sqlite3(store: StateStore) -> None:
    """The guide says so; should pandas change its mind, so should the guide."""
    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"):
        pd.read_sql_query("SELECT 1", store.connection)
