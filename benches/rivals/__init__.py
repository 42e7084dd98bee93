"""What a user could pick: this package, and what a good engineer would write without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from benches.items import Item

Synchronous = Literal["FULL", "NORMAL"]

OURS = "state_store"
APSW = "apsw+orjson"
SQLITE3 = "sqlite3+json"
SQLITE3_ORJSON = "sqlite3+orjson"
SQLITE_UTILS = "sqlite-utils"
SQLALCHEMY = "SQLAlchemy Core"

GATED = (OURS, APSW, SQLITE3)
ALL = (*GATED, SQLITE3_ORJSON, SQLITE_UTILS, SQLALCHEMY)


class Contender(Protocol):
    """Keeps items in one file, called from any thread."""

    def start_run(self, run_id: str) -> None: ...
    def upsert(self, item: Item) -> None: ...
    def upsert_batch(self, items: list[Item]) -> None: ...
    def list_run(self, run_id: str) -> Sequence[Mapping[str, Any]]: ...
    def checkpoint(self) -> object: ...
    def close(self) -> None: ...


def open_contender(name: str, path: Path, synchronous: Synchronous = "FULL") -> Contender:
    """Open a new file. Each contender's packages are imported only where it takes part."""
    if name == OURS:
        from benches.rivals.ours import Ours

        return Ours(path, synchronous)
    if name == APSW:
        from benches.rivals.with_apsw import Apsw

        return Apsw(path, synchronous)
    if name == SQLITE3:
        from benches.rivals.with_sqlite3 import Sqlite3

        return Sqlite3(path, synchronous)
    if name == SQLITE3_ORJSON:
        from benches.rivals.with_sqlite3_orjson import Sqlite3Orjson

        return Sqlite3Orjson(path, synchronous)
    if name == SQLITE_UTILS:
        from benches.rivals.with_sqlite_utils import SqliteUtils

        return SqliteUtils(path, synchronous)
    if name == SQLALCHEMY:
        from benches.rivals.with_sqlalchemy import SqlAlchemy

        return SqlAlchemy(path, synchronous)
    raise ValueError(f"there is no contender {name!r}")
