"""What a user could pick for a PostgreSQL server, and the store on a file beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
import psycopg
from orchestrator.state_store import StateStore
from sqlalchemy import create_engine, insert, select
from sqlalchemy.dialects import postgresql

from benches.items import Item
from benches.rivals import tables
from benches.rivals.orjson_text import dumps
from benches.rivals.per_thread import PerThread
from benches.rivals.with_sqlalchemy import ITEMS, METADATA, RUNS

INSERT_ITEM = postgresql.insert(ITEMS)
UPSERT_ITEM = INSERT_ITEM.on_conflict_do_update(
    index_elements=["item_id"], set_={name: INSERT_ITEM.excluded[name] for name in tables.UPDATED}
)
UPSERT = tables.UPSERT.replace("?", "%s")
LIST = tables.LIST.replace("?", "%s").replace("rowid", "item_id")


class Contender(Protocol):
    """Keeps items in a schema of its own, called from any thread."""

    def start_run(self, run_id: str) -> None: ...
    def upsert(self, item: Item) -> None: ...
    def upsert_batch(self, items: list[Item]) -> None: ...
    def list_run(self, run_id: str) -> Sequence[Mapping[str, Any]]: ...
    def close(self) -> None: ...


class Ours:
    """The store itself."""

    def __init__(self, url: str, schema: str) -> None:
        self._open(f"{url}&schema={schema}")

    def _open(self, where: str) -> None:
        # A session for each of eight threads, as the others have.
        self._store = StateStore(where, pool_size=8)
        self.upsert = self._store.upsert_intel_item
        self.upsert_batch = self._store.upsert_intel_items_batch
        self.list_run = self._store.list_intel_items_for_run

    def start_run(self, run_id: str) -> None:
        self._store.start_run(run_id, "bench", {})

    def list_high_scores(self) -> Sequence[Mapping[str, Any]]:
        return self._store.list_intel_items(where={"scores_json.total": (">=", 80)})

    def close(self) -> None:
        self._store.close()


class File(Ours):
    """The store on a file of SQLite's."""

    def __init__(self, url: str, schema: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="state-store-bench-")
        self._open(str(Path(self._folder.name) / "state.db"))

    def close(self) -> None:
        self._store.close()
        self._folder.cleanup()


class SqlAlchemy:
    """SQLAlchemy Core: typed tables, JSON columns, its dialect's upsert, its pool."""

    def __init__(self, url: str, schema: str) -> None:
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(url, schema, autocommit=False),
            pool_size=8,
        )
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
            connection.execute(UPSERT_ITEM, [{**item, "created_at": now} for item in items])

    def list_run(self, run_id: str) -> list[dict[str, Any]]:
        query = select(ITEMS).where(ITEMS.c.run_id == run_id).order_by(ITEMS.c.created_at, ITEMS.c.item_id)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


class Executemany:
    """psycopg's executemany, which sends a batch as one pipeline, with orjson for json; a connection a thread."""

    def __init__(self, url: str, schema: str) -> None:
        self._connections = PerThread(lambda: connect(url, schema))
        self.close = self._connections.close
        with self._connections.get().transaction():
            for statement in tables.SCHEMA:
                self._connections.get().execute(statement.encode())

    def start_run(self, run_id: str) -> None:
        with self._connections.get().transaction():
            self._connections.get().execute(tables.INSERT_RUN.replace("?", "%s").encode(), [run_id, tables.now()])

    def upsert(self, item: Item) -> None:
        self.upsert_batch([item])

    def upsert_batch(self, items: list[Item]) -> None:
        now = tables.now()
        rows = [tables.to_row(item, now, dumps) for item in items]
        connection = self._connections.get()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(UPSERT.encode(), rows)

    def list_run(self, run_id: str) -> list[Item]:
        rows = self._connections.get().execute(LIST.encode(), [run_id]).fetchall()
        return [tables.to_item(row, orjson.loads) for row in rows]


def connect(url: str, schema: str, *, autocommit: bool = True) -> psycopg.Connection:
    """Open a connection that works in a schema of its own."""
    return psycopg.connect(url, autocommit=autocommit, options=f"-c search_path={schema}")


CONTENDERS: dict[str, Callable[[str, str], Contender]] = {
    "state_store": Ours,
    "SQLAlchemy Core": SqlAlchemy,
    "executemany+orjson": Executemany,
    "a file": File,
}
