"""Closing a store: the calls that only SQLite has, and an opening that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreClosedError

from tests.helpers import in_thread, leaving_nothing

CALLS: dict[str, Callable[[StateStore], object]] = {
    "backup": lambda store: store.backup("never.db"),
    "vacuum": lambda store: store.vacuum(),
    "checkpoint": lambda store: store.checkpoint(),
    "connection": lambda store: store.connection.execute("SELECT 1"),
    "_conn": lambda store: store._conn.execute("SELECT 1"),
}


@pytest.mark.parametrize("where", ["same thread", "other thread"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_after_close_raises(store: StateStore, call: str, where: str) -> None:
    store.close()
    with pytest.raises(StoreClosedError, match="closed"):
        CALLS[call](store) if where == "same thread" else in_thread(CALLS[call], store)


def test_connection_that_was_got_before_close_raises_too(store: StateStore) -> None:
    connection = store.connection
    cursor = connection.execute("SELECT run_id FROM runs")
    store.close()
    with pytest.raises(StoreClosedError):
        connection.execute("SELECT 1")
    assert cursor.fetchall() == [("run-1",)]


@leaving_nothing()
def test_descriptors_are_back_after_an_opening_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello, world\n" * 1000)
    for _ in range(5):
        with pytest.raises(Exception, match="text"):
            StateStore(path)
        with pytest.raises(Exception, match="sub"):
            StateStore(path / "sub")
