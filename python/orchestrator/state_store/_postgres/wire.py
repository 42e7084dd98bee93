"""Values that the core has made in PostgreSQL's binary form."""

from __future__ import annotations

import psycopg
from psycopg.adapt import Dumper


class Wire:
    """One such value. The function that takes it says of which type it is."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value


class _Dumper(Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, obj: Wire) -> bytes:
        return obj.value


psycopg.adapters.register_dumper(Wire, _Dumper)
