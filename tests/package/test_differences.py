"""What is on purpose different from the predecessor: all of it is in the guide, and is so."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    Connection,
    Cursor,
    InvalidTypeError,
    Row,
    RunNotFoundError,
    RunRecord,
    StateStore,
)

from tests import predecessor
from tests.helpers import ROOT, make_item


@pytest.fixture(scope="module")
def listed() -> str:
    """Return the section of the guide."""
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    return text.partition("\nThis is on purpose different:")[2].partition("\n## ")[0]


@pytest.fixture
def old() -> Iterator[sqlite3.Connection]:
    """Open a database of the predecessor's, in memory."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as old:
        old.execute("PRAGMA foreign_keys = ON")
        for table in predecessor.TABLES:
            old.execute(table)
        old.execute(*predecessor.start_run("run-1"))
        yield old


def names(text: str) -> set[str]:
    return set(re.findall(r"`([\w.]+)`", text))


@pytest.mark.parametrize("kinds", [(sqlite3.Connection, Connection), (sqlite3.Cursor, Cursor), (sqlite3.Row, Row)])
def test_names_that_are_gone_are_listed(listed: str, kinds: tuple[type, type]) -> None:
    theirs, ours = ({name for name in dir(kind) if name[0] != "_"} for kind in kinds)
    errors = {name for name in theirs if isinstance(getattr(sqlite3, name, None), type)}
    assert theirs - ours - errors - names(listed) == set()
    if ours > {"execute", "cursor"}:
        assert not names(listed) & ours & theirs, "listed, and there"


def test_fields_that_are_new_are_listed(listed: str) -> None:
    fields = dataclasses.fields(RunRecord)
    assert [field.name for field in fields[:5]] == predecessor.RUN_FIELDS
    new = fields[5:]
    assert ("three more fields" in listed, len(new)) == (True, 3)
    assert {field.name for field in new} <= names(listed)
    assert {field.default for field in new} == {None}


def test_private_names_that_are_gone_are_listed(listed: str) -> None:
    with StateStore(":memory:") as store:
        gone = {name for name in [*predecessor.PRIVATE, "_lock"] if not hasattr(store, name)}
    assert gone == {*predecessor.PRIVATE, "_lock"} - {"_conn"}
    assert gone <= names(listed)


@pytest.mark.parametrize(("title", "was"), [(None, sqlite3.IntegrityError), (5, "5")])
def test_text_that_is_none(old: sqlite3.Connection, title: Any, was: Any) -> None:
    sql, parameters = predecessor.upsert("item-1", "run-1", title, [], "")
    if isinstance(was, str):
        old.execute(sql, parameters)
        assert old.execute("SELECT title FROM intel_items").fetchall() == [(was,)]
    else:
        with pytest.raises(was):
            old.execute(sql, parameters)
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        with pytest.raises(InvalidTypeError) as caught:
            store.upsert_intel_item(make_item(title=title))
        assert not isinstance(caught.value, sqlite3.Error)


def test_calls_that_were_let_pass(old: sqlite3.Connection) -> None:
    assert old.execute("UPDATE runs SET status = 'x' WHERE run_id = 'nowhere'").rowcount == 0
    with StateStore(":memory:") as store:
        with pytest.raises(RunNotFoundError):
            store.finish_run("nowhere", "x")
        with pytest.raises(InvalidTypeError):
            store.upsert_intel_items_batch(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            store.transaction()(print)  # type: ignore[operator]
        assert not isinstance(store._conn, sqlite3.Connection)


def test_path_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        (tmp_path / "file" / "folder").mkdir(parents=True)
    with pytest.raises(CannotOpenError) as caught:
        StateStore(tmp_path / "file" / "folder" / "state.db")
    assert isinstance(caught.value, sqlite3.OperationalError)
    assert not isinstance(caught.value, OSError)
