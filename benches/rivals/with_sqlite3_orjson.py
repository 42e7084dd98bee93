"""The standard library's sqlite3, with orjson for json."""

from __future__ import annotations

import orjson

from benches.rivals import orjson_text
from benches.rivals.with_sqlite3 import Json


class Orjson(Json):
    """As `Json`, with the faster parser."""

    dumps = staticmethod(orjson_text.dumps)
    loads = staticmethod(orjson.loads)
