"""The standard library's sqlite3, with orjson for json."""

from __future__ import annotations

from pathlib import Path

import orjson

from benches.rivals import Synchronous
from benches.rivals.orjson_text import dumps
from benches.rivals.with_sqlite3 import Sqlite3


class Sqlite3Orjson(Sqlite3):
    """As `Sqlite3`, with the faster parser."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        super().__init__(path, synchronous, dumps, orjson.loads)
