"""orjson, which gives bytes, for text columns."""

from __future__ import annotations

from typing import Any

import orjson


def dumps(value: Any) -> str:
    """Return a value as JSON text."""
    return orjson.dumps(value).decode()
