"""SQLAlchemy Core: typed tables, JSON columns, its dialect's upsert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Index,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection

from benches.items import Item
from benches.rivals import Synchronous, tables

METADATA = MetaData()
RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("run_type", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("status", Text, nullable=False),
    Column("settings_snapshot_json", JSON, nullable=False),
    Column("notes", Text),
)
ITEMS = Table(
    "intel_items",
    METADATA,
    Column("item_id", Text, primary_key=True),
    Column("run_id", Text, ForeignKey("runs.run_id"), nullable=False),
    *(Column(name, Text, nullable=False) for name in ("item_type", "title", "summary")),
    *(Column(name, JSON, nullable=False) for name in tables.JSON_COLUMNS),
    *(Column(name, Text) for name in ("decision", "decision_reason")),
    Column("created_at", Text, nullable=False),
    Index("idx_intel_items_run_id", "run_id", "created_at"),
    Index("idx_intel_items_created_at", "created_at"),
)
INSERT_ITEM = sqlite.insert(ITEMS)
UPSERT = INSERT_ITEM.on_conflict_do_update(
    index_elements=["item_id"], set_={name: INSERT_ITEM.excluded[name] for name in tables.UPDATED}
)


class SqlAlchemy:
    """An engine, whose pool has a connection for each thread."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, pool_size=8)

        @event.listens_for(self._engine, "connect")
        def set_pragmas(connection: DBAPIConnection, _: object) -> None:
            cursor = connection.cursor()
            for pragma in tables.pragmas(synchronous):
                cursor.execute(pragma)
            cursor.close()

        METADATA.create_all(self._engine)
        self.close = self._engine.dispose

    def start_run(self, run_id: str) -> None:
        run = {"run_id": run_id, "run_type": "bench", "started_at": tables.now(), "status": "running"}
        with self._engine.begin() as connection:
            connection.execute(insert(RUNS), {**run, "settings_snapshot_json": {}})

    def upsert(self, item: Item) -> None:
        self.upsert_batch([item])

    def upsert_batch(self, items: list[Item]) -> None:
        now = tables.now()
        with self._engine.begin() as connection:
            connection.execute(UPSERT, [{**item, "created_at": now} for item in items])

    def checkpoint(self) -> None:
        with self._engine.connect() as connection:
            connection.execute(text(tables.CHECKPOINT)).all()

    def list_run(self, run_id: str) -> list[dict[str, Any]]:
        query = select(ITEMS).where(ITEMS.c.run_id == run_id).order_by(ITEMS.c.created_at, text("rowid"))
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
