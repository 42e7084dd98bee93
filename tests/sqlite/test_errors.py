"""Every exception class of a file: raised for real, and clear in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    CorruptDatabaseError,
    FileMovedError,
    ForeignDatabaseError,
    InvalidJSONError,
    NotADatabaseError,
    OutOfMemoryError,
    QueryError,
    ReadOnlyError,
    SchemaTooNewError,
    StateStore,
    StateStoreError,
)

from tests.conformance.test_errors import raised
from tests.fuzz import driver, hostile_file
from tests.helpers import make_item, plain_sqlite

Act = Callable[[StateStore], object]


def write_moved(store: StateStore) -> None:
    elsewhere = store.db_path.rename(store.db_path.with_name("elsewhere.db"))
    try:
        store.upsert_intel_item(make_item("item-7"))
    finally:
        elsewhere.rename(store.db_path)


def items_of(*sql: str) -> Act:
    """Let another program change the file; then list a run's items."""

    def act(store: StateStore) -> None:
        store.upsert_intel_item(make_item("item-7"))
        store.close()
        plain_sqlite(store.db_path, *sql)
        with StateStore(store.db_path) as again:
            again.list_intel_items_for_run("run-1")

    return act


def open_bytes(content: bytes) -> Act:
    def act(store: StateStore) -> None:
        path = store.db_path.with_name("other.db")
        path.write_bytes(content)
        StateStore(path)

    return act


def open_foreign(store: StateStore) -> None:
    path = store.db_path.with_name("other.db")
    plain_sqlite(path, "CREATE TABLE notes (x)")
    StateStore(path)


def read_damaged(store: StateStore) -> None:
    """Overwrite all pages but the first with noise."""
    store.upsert_intel_items_batch(make_item(f"{index:04}", summary="x" * 500) for index in range(500))
    store.close()
    content = bytearray(store.db_path.read_bytes())
    page = int.from_bytes(content[16:18], "big") or 65536
    page = 65536 if page == 1 else page
    content[page:] = b"\xa5" * (len(content) - page)
    store.db_path.write_bytes(content)
    with StateStore(store.db_path) as again:
        again.list_intel_items_for_run("run-1")


def read_huge(store: StateStore) -> None:
    """Read a file whose log says that it has 2**31 pages, and in whose index a record claims to fill them."""
    path = store.db_path.with_name("other.db")
    base, _, log = (driver.SEEDS / "hostile_file" / "huge_record.bin").read_bytes().partition(hostile_file.LOG)
    path.write_bytes(base)
    path.with_name("other.db-wal").write_bytes(log)
    with StateStore(path, read_only=True) as other:
        other.list_intel_items(since="2020-01-01T00:00:00+00:00")


NO_UTF8 = "UPDATE intel_items SET title = CAST(x'61ff' AS TEXT)"
BLOB = "UPDATE intel_items SET title = x'00ff'"
SCENARIOS: list[tuple[type[StateStoreError], list[str], Act]] = [
    (ReadOnlyError, [], lambda s: s.connection.execute("DELETE FROM runs")),
    (QueryError, ["nowhere"], lambda s: s.connection.execute("SELECT * FROM nowhere")),
    (CannotOpenError, ["state.db/x"], lambda s: StateStore(s.db_path / "x")),
    (FileMovedError, ["upsert_intel_item", "item-7", "state.db", "move it back", "nothing was written"], write_moved),
    (NotADatabaseError, ["other.db"], open_bytes(b"hello\n" * 1000)),
    (ForeignDatabaseError, ["other.db"], open_foreign),
    (SchemaTooNewError, ["state.db"], items_of("PRAGMA user_version = 1000000")),
    (CorruptDatabaseError, [], read_damaged),
    (OutOfMemoryError, ["list_intel_items"], read_huge),
    (CorruptDatabaseError, ["item-7", "title"], items_of(BLOB)),
    (CorruptDatabaseError, ["item-7", "title"], items_of(NO_UTF8)),
    (
        InvalidJSONError,
        ["list_intel_items_for_run", "item-7", "scores_json"],
        items_of("UPDATE intel_items SET scores_json = '{'"),
    ),
]


@pytest.mark.parametrize(
    ("kind", "names", "act"),
    SCENARIOS,
    ids=[f"{index:02}-{each[0].__name__}" for index, each in enumerate(SCENARIOS)],
)
def test_each_class_is_raised_and_says_what_where(
    store: StateStore, kind: type[StateStoreError], names: list[str], act: Act
) -> None:
    raised(kind, names, lambda: act(store))


def test_text_that_is_no_utf_8_is_a_typed_error_of_ad_hoc_queries_too(store: StateStore) -> None:
    with pytest.raises((CorruptDatabaseError, QueryError)):
        store.connection.execute("SELECT CAST(x'61ff' AS TEXT)")
