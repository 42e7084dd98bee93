"""apsw and orjson: the fastest that a good engineer would write in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import orjson

from benches.items import Item
from benches.rivals import Synchronous, tables
from benches.rivals.orjson_text import dumps
from benches.rivals.per_thread import PerThread


class Apsw:
    """A connection a thread, one transaction and one `executemany` a batch."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        self._pragmas = tables.pragmas(synchronous)
        self._connections = PerThread(self._connect)
        for statement in tables.SCHEMA:
            self._connections.get().execute(statement)
        self.close = self._connections.close

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(30_000)
        for pragma in self._pragmas:
            connection.execute(pragma)
        return connection

    def start_run(self, run_id: str) -> None:
        self._connections.get().execute(tables.INSERT_RUN, (run_id, tables.now()))

    def upsert(self, item: Item) -> None:
        self._connections.get().execute(tables.UPSERT, tables.to_row(item, tables.now(), dumps))

    def upsert_batch(self, items: list[Item]) -> None:
        connection, now = self._connections.get(), tables.now()
        with connection:
            connection.executemany(tables.UPSERT, (tables.to_row(item, now, dumps) for item in items))

    def checkpoint(self) -> None:
        self._connections.get().execute(tables.CHECKPOINT).fetchall()

    def list_run(self, run_id: str) -> list[dict[str, Any]]:
        loads, rows = orjson.loads, self._connections.get().execute(tables.LIST, (run_id,))
        return [tables.to_item(row, loads) for row in rows]
