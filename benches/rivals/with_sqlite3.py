"""The standard library's sqlite3 and json, written well."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.items import Item
from benches.rivals import Synchronous, tables
from benches.rivals.per_thread import PerThread

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Sqlite3:
    """A connection a thread, one transaction and one `executemany` a batch."""

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        dumps: Callable[[Any], str] = encode,
        loads: Callable[[str], Any] = json.loads,
    ) -> None:
        self._path = path
        self._dumps = dumps
        self._loads = loads
        self._pragmas = tables.pragmas(synchronous)
        self._connections = PerThread(self._connect)
        for statement in tables.SCHEMA:
            self._connections.get().execute(statement)
        self.close = self._connections.close

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        for pragma in self._pragmas:
            connection.execute(pragma)
        return connection

    def start_run(self, run_id: str) -> None:
        self._connections.get().execute(tables.INSERT_RUN, (run_id, tables.now()))

    def upsert(self, item: Item) -> None:
        self._connections.get().execute(tables.UPSERT, tables.to_row(item, tables.now(), self._dumps))

    def upsert_batch(self, items: list[Item]) -> None:
        connection, now, dumps = self._connections.get(), tables.now(), self._dumps
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            connection.executemany(tables.UPSERT, (tables.to_row(item, now, dumps) for item in items))

    def checkpoint(self) -> None:
        self._connections.get().execute(tables.CHECKPOINT).fetchall()

    def list_run(self, run_id: str) -> list[dict[str, Any]]:
        loads, rows = self._loads, self._connections.get().execute(tables.LIST, (run_id,))
        return [tables.to_item(row, loads) for row in rows]
