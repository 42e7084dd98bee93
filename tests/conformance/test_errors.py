"""Every exception class: raised for real, of the class that old programs catch, and clear in one line."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orchestrator.state_store as package
import pytest
from orchestrator.state_store import (
    CannotOpenError,
    CorruptDatabaseError,
    FileMovedError,
    ForeignDatabaseError,
    IntelItemNotFoundError,
    InvalidJSONError,
    InvalidTypeError,
    InvalidValueError,
    MissingFieldError,
    NestingTooDeepError,
    NotADatabaseError,
    OutOfMemoryError,
    QueryError,
    ReadOnlyError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    SchemaTooNewError,
    StateStore,
    StateStoreError,
    StoreBusyError,
    StoreClosedError,
    TransactionError,
)

from tests.fuzz import driver, hostile_file
from tests.helpers import held_transaction, make_item, plain_sqlite
from tests.programs.deep import nested

Act = Callable[[StateStore], object]


def use_closed(store: StateStore) -> None:
    store.close()
    store.finish_run("run-1", "completed")


def beat_when_over(store: StateStore) -> None:
    store.finish_run("run-1", "failed")
    store.heartbeat("run-1")


def write_while_held(store: StateStore) -> None:
    with StateStore(store.db_path, busy_timeout=0.05) as other, held_transaction(store):
        other.finish_run("run-1", "completed")


def write_read_only(store: StateStore) -> None:
    with StateStore(store.db_path, read_only=True) as reader:
        reader.finish_run("run-1", "completed")


def write_moved(store: StateStore) -> None:
    elsewhere = store.db_path.rename(store.db_path.with_name("elsewhere.db"))
    try:
        store.upsert_intel_item(make_item("item-7"))
    finally:
        elsewhere.rename(store.db_path)


def leave_twice(store: StateStore) -> None:
    with store.transaction() as transaction:
        pass
    transaction.__exit__(None, None, None)


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
    """Read a file whose log says that it has 2**31 pages, and whose record claims to fill them."""
    path = store.db_path.with_name("other.db")
    base, _, log = (driver.SEEDS / "hostile_file" / "huge_record.bin").read_bytes().partition(hostile_file.LOG)
    path.write_bytes(base)
    path.with_name("other.db-wal").write_bytes(log)
    with StateStore(path, read_only=True) as other:
        list(other.iter_intel_items())


deep_item = make_item("item-7", claims_json=nested(100_000, "list"))
circular: list[Any] = []
circular.append(circular)
untitled = make_item("item-7")
del untitled["title"]
NO_UTF8 = "UPDATE intel_items SET title = CAST(x'61ff' AS TEXT)"
BLOB = "UPDATE intel_items SET title = x'00ff'"
SCENARIOS: list[tuple[type[StateStoreError], type[Exception], list[str], Act]] = [
    (RunExistsError, sqlite3.IntegrityError, ["start_run", "run-1"], lambda s: s.start_run("run-1", "daily", {})),
    (RunActiveError, sqlite3.IntegrityError, ["delete_run", "run-1", "force=True"], lambda s: s.delete_run("run-1")),
    (RunNotFoundError, sqlite3.IntegrityError, ["delete_run", "run-9"], lambda s: s.delete_run("run-9")),
    (RunFinishedError, sqlite3.IntegrityError, ["heartbeat", "run-1", "failed"], beat_when_over),
    (RunNotFoundError, sqlite3.IntegrityError, ["finish_run", "run-9"], lambda s: s.finish_run("run-9", "failed")),
    (RunNotFoundError, sqlite3.IntegrityError, ["write_telemetry", "run-9"], lambda s: s.write_telemetry("run-9", {})),
    (
        RunNotFoundError,
        sqlite3.IntegrityError,
        ["upsert_intel_item", "item-7", "run-9"],
        lambda s: s.upsert_intel_item(make_item("item-7", "run-9")),
    ),
    (
        RunNotFoundError,
        sqlite3.IntegrityError,
        ["upsert_intel_items_batch", "item-7", "run-9", "1"],
        lambda s: s.upsert_intel_items_batch([make_item(), make_item("item-7", "run-9")]),
    ),
    (
        IntelItemNotFoundError,
        sqlite3.IntegrityError,
        ["decide", "item-9", "nothing was changed"],
        lambda s: s.decide("item-9", "promote"),
    ),
    (
        IntelItemNotFoundError,
        sqlite3.IntegrityError,
        ["decide_batch", "item-9", "nothing was changed"],
        lambda s: s.decide_batch({"item-9": "promote"}),
    ),
    (MissingFieldError, KeyError, ["upsert_intel_item", "item-7", "title"], lambda s: s.upsert_intel_item(untitled)),
    (
        MissingFieldError,
        KeyError,
        ["upsert_intel_items_batch", "item-7", "title", "2"],
        lambda s: s.upsert_intel_items_batch([make_item(), make_item(), untitled]),
    ),
    (InvalidTypeError, TypeError, ["start_run", "run-7"], lambda s: s.start_run("run-7", "daily", {"a": {1}})),
    (InvalidTypeError, TypeError, ["start_run", "run_type"], lambda s: s.start_run("run-7", 5, {})),  # type: ignore[arg-type]
    (
        InvalidTypeError,
        TypeError,
        ["upsert_intel_item", "item-7", "claims_json"],
        lambda s: s.upsert_intel_item(make_item("item-7", claims_json=[object()])),
    ),
    (
        InvalidTypeError,
        TypeError,
        ["upsert_intel_items_batch", "item-7", "title", "1"],
        lambda s: s.upsert_intel_items_batch([make_item(), make_item("item-7", title=None)]),
    ),
    (InvalidValueError, ValueError, ["write_telemetry", "run-1"], lambda s: s.write_telemetry("run-1", circular)),
    (InvalidValueError, ValueError, ["finish_run", "notes"], lambda s: s.finish_run("run-1", "x", "\ud800")),
    (
        NestingTooDeepError,
        RecursionError,
        ["upsert_intel_item", "item-7", "claims_json"],
        lambda s: s.upsert_intel_item(deep_item),
    ),
    (StoreClosedError, sqlite3.ProgrammingError, ["finish_run"], use_closed),
    (StoreBusyError, sqlite3.OperationalError, ["finish_run", "run-1"], write_while_held),
    (ReadOnlyError, sqlite3.OperationalError, ["finish_run"], write_read_only),
    (ReadOnlyError, sqlite3.OperationalError, [], lambda s: s.connection.execute("DELETE FROM runs")),
    (QueryError, sqlite3.OperationalError, ["nowhere"], lambda s: s.connection.execute("SELECT * FROM nowhere")),
    (TransactionError, sqlite3.ProgrammingError, ["transaction"], leave_twice),
    (CannotOpenError, sqlite3.OperationalError, ["state.db/x"], lambda s: StateStore(s.db_path / "x")),
    (
        FileMovedError,
        sqlite3.OperationalError,
        ["upsert_intel_item", "item-7", "state.db", "move it back", "nothing was written"],
        write_moved,
    ),
    (NotADatabaseError, sqlite3.DatabaseError, ["other.db"], open_bytes(b"hello\n" * 1000)),
    (ForeignDatabaseError, sqlite3.DatabaseError, ["other.db"], open_foreign),
    (SchemaTooNewError, sqlite3.DatabaseError, ["state.db"], items_of("PRAGMA user_version = 1000000")),
    (CorruptDatabaseError, sqlite3.DatabaseError, [], read_damaged),
    (OutOfMemoryError, MemoryError, ["iter_intel_items"], read_huge),
    (
        CorruptDatabaseError,
        sqlite3.DatabaseError,
        ["item-7", "title"],
        items_of(BLOB),
    ),
    (CorruptDatabaseError, sqlite3.DatabaseError, ["item-7", "title"], items_of(NO_UTF8)),
    (
        InvalidJSONError,
        ValueError,
        ["list_intel_items_for_run", "item-7", "scores_json"],
        items_of("UPDATE intel_items SET scores_json = '{'"),
    ),
]


def test_text_that_is_no_utf_8_is_a_typed_error_of_ad_hoc_queries_too(store: StateStore) -> None:
    with pytest.raises((CorruptDatabaseError, QueryError)):
        store.connection.execute("SELECT CAST(x'61ff' AS TEXT)")


ELSEWHERE = {"DiskFullError", "StorageIOError", "TransactionDoomedError", "CommitOutcomeUnknownError"}


@pytest.mark.parametrize(
    ("kind", "also", "names", "act"),
    SCENARIOS,
    ids=[f"{index:02}-{each[0].__name__}" for index, each in enumerate(SCENARIOS)],
)
def test_each_class_is_raised_and_says_what_where(
    store: StateStore, kind: type[StateStoreError], also: type[Exception], names: list[str], act: Act
) -> None:
    with pytest.raises(kind) as caught:
        act(store)
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, StateStoreError)
    assert isinstance(error, also)
    message = str(error)
    assert message
    assert "\n" not in message
    for name in names:
        assert name in message, message


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb\u2028c", "\0", "'\""], ids=ascii)
def test_message_stays_one_line_whatever_the_id(store: StateStore, name: str) -> None:
    store.start_run(name, "daily", {})
    acts: list[Callable[[], object]] = [
        lambda: store.start_run(name, "daily", {}),
        lambda: store.finish_run(f"not {name}", "failed"),
        lambda: store.upsert_intel_item(make_item(name, f"not {name}")),
        lambda: store.upsert_intel_items_batch([make_item(name, title=None)]),
        lambda: store.upsert_intel_item({"item_id": name}),
        lambda: store.upsert_intel_item(make_item(name, name, claims_json={name: object()})),
    ]
    for act in acts:
        with pytest.raises(StateStoreError) as caught:
            act()
        assert len(str(caught.value).splitlines()) == 1


def test_every_exported_class_is_covered() -> None:
    exported = {
        name
        for name in package.__all__
        if isinstance(each := getattr(package, name), type) and issubclass(each, StateStoreError)
    }
    raised = {each[0].__name__ for each in SCENARIOS}
    assert exported == raised | ELSEWHERE | {"StateStoreError"}


@pytest.mark.parametrize(
    ("name", "bases"),
    [
        ("DiskFullError", [sqlite3.OperationalError]),
        ("StorageIOError", [sqlite3.OperationalError]),
        ("TransactionDoomedError", [sqlite3.OperationalError]),
        ("CommitOutcomeUnknownError", [package.StorageIOError, sqlite3.OperationalError]),
    ],
)
def test_classes_of_failing_disks_are_what_old_programs_catch(name: str, bases: list[type]) -> None:
    """`test_disk_full.py` and `test_sync_failure.py` raise them."""
    kind = getattr(package, name)
    assert issubclass(kind, StateStoreError)
    assert all(issubclass(kind, base) for base in bases)


def test_errors_leave_the_store_usable(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        for _, _, _, act in SCENARIOS[:14]:
            with pytest.raises(StateStoreError):
                act(store)
        store.upsert_intel_item(make_item("last"))
        assert [item["item_id"] for item in store.list_intel_items_for_run("run-1")] == ["last"]
