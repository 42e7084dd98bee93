"""sqlite-utils, as its documentation has it: a list or a dict in a record becomes JSON by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import Table

from benches.items import Item
from benches.rivals import Synchronous, tables
from benches.rivals.per_thread import PerThread


class SqliteUtils:
    """A `Database` a thread."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        self._pragmas = tables.pragmas(synchronous)
        self._databases = PerThread(self._connect)
        for statement in tables.SCHEMA:
            self._databases.get().execute(statement)
        self.close = self._databases.close

    def _connect(self) -> Database:
        import sqlite3

        database = Database(sqlite3.connect(self._path, timeout=30, check_same_thread=False))
        for pragma in self._pragmas:
            database.execute(pragma)
        return database

    def _table(self, name: str) -> Table:
        return self._databases.get().table(name)

    def start_run(self, run_id: str) -> None:
        run = {"run_id": run_id, "run_type": "bench", "started_at": tables.now(), "status": "running"}
        self._table("runs").insert({**run, "settings_snapshot_json": {}})

    def upsert(self, item: Item) -> None:
        self._table("intel_items").upsert({**item, "created_at": tables.now()}, pk="item_id")

    def upsert_batch(self, items: list[Item]) -> None:
        now = tables.now()
        self._table("intel_items").upsert_all(({**item, "created_at": now} for item in items), pk="item_id")

    def checkpoint(self) -> None:
        self._databases.get().execute(tables.CHECKPOINT).fetchall()

    def list_run(self, run_id: str) -> list[dict[str, Any]]:
        rows = self._table("intel_items").rows_where("run_id = ?", [run_id], order_by="created_at, rowid")
        return [{**row, **{name: json.loads(row[name]) for name in tables.JSON_COLUMNS}} for row in rows]
