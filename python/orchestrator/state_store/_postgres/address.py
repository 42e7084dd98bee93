"""What a URL says: where the database is, as libpq reads it, and the options of the store behind its `?`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import psycopg
from orchestrator.state_store.exceptions import InvalidValueError
from orchestrator.state_store.excerpts import excerpt
from psycopg.conninfo import conninfo_to_dict

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Names that need no quotes, and that messages can show."""


@dataclass(frozen=True)
class Address:
    """Where a store is. Its password is in no repr and no message."""

    location: str
    schema: str
    transaction_idle_timeout: float
    parameters: dict[str, Any] = field(repr=False)


def parse(url: str) -> Address:
    """Take a URL apart.

    Raises
    ------
    InvalidValueError
        When libpq does not understand it, or an option is wrong.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = {name: text for name, text in pairs if name in ("schema", "transaction_idle_timeout")}
    others = [(name, text) for name, text in pairs if name not in options]
    schema = options.get("schema", "orchestrator")
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise InvalidValueError(
            f"db_path: schema must be a name of a-z, 0-9 and _, and not begin with pg_, not {excerpt(schema)}"
        )
    try:
        parameters = conninfo_to_dict(_together(parts._replace(query=urlencode(others, safe="/"))))
    except (psycopg.Error, ValueError):
        # Its message may show the password.
        raise InvalidValueError("db_path: the URL is not one that libpq understands") from None
    return Address(
        location=_without_password(url),
        schema=schema,
        transaction_idle_timeout=_seconds(options.get("transaction_idle_timeout", "60")),
        parameters=dict(parameters),
    )


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found <= 1e6:
        raise InvalidValueError(
            f"db_path: transaction_idle_timeout must be above 0 and at most 1e6 seconds, not {excerpt(text)}"
        )
    return found


def _without_password(url: str) -> str:
    """Return the URL as messages show it."""
    parts = urlsplit(url)
    place, user = parts.netloc.rpartition("@")[2], parts.netloc.rpartition("@")[0].partition(":")[0]
    shown = parts._replace(netloc=f"{user}@{place}" if user else place)
    secrets = ("password", "passfile", "sslpassword")
    if any(name in parts.query for name in secrets):
        kept = [(name, text) for name, text in parse_qsl(parts.query) if name not in secrets]
        shown = shown._replace(query=urlencode(kept, safe="/"))
    return _together(shown)


def _together(parts: SplitResult) -> str:
    """Return a URL as it was taken apart; a URL without a host keeps its slashes."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"
