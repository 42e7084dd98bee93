"""What a URL says: where the database is, as libpq reads it, and the options of the store behind its `?`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from orchestrator.state_store.exceptions import InvalidValueError
from orchestrator.state_store.excerpts import excerpt
from psycopg.conninfo import conninfo_to_dict

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""Names that need no quotes, and that messages can show."""

_OPTIONS = ("schema", "transaction_idle_timeout", "pooler")
_SECRETS = ("password", "passfile", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret")

_PARTS = re.compile(r"([a-z]+://)(?:([^@/]*)@)?([^?]*)(?:\?(.*))?", re.DOTALL)
"""As libpq takes it apart: a password may have any character but @ and /."""


@dataclass(frozen=True)
class Address:
    """Where a store is. Its password is in no repr and no message.

    Attributes
    ----------
    pooler
        Whether each transaction may be in another session of the server's: nothing is kept in one.
    """

    location: str
    schema: str
    transaction_idle_timeout: float
    pooler: bool
    parameters: dict[str, Any] = field(repr=False)


def parse(url: str) -> Address:
    """Take a URL apart.

    Raises
    ------
    InvalidValueError
        When libpq does not understand it, or an option is wrong.
    """
    found = _PARTS.fullmatch(url)
    if found is None:
        raise InvalidValueError("db_path: the URL is not one that libpq understands")
    scheme, user, place, query = found.groups()
    # A plus is a plus to libpq.
    pairs = parse_qsl((query or "").replace("+", "%2B"), keep_blank_values=True)
    options = {name: text for name, text in pairs if name in _OPTIONS}
    others = [(name, text) for name, text in pairs if name not in options]
    schema = options.get("schema", "orchestrator")
    if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise InvalidValueError(
            f"db_path: schema must be a name of a-z, 0-9 and _, and not begin with pg_, not {excerpt(schema)}"
        )
    try:
        parameters = conninfo_to_dict(_together(scheme, user, place, others))
    except (psycopg.Error, ValueError):
        # Its message may show the password.
        raise InvalidValueError("db_path: the URL is not one that libpq understands") from None
    shown = [(name, text) for name, text in pairs if name not in _SECRETS]
    return Address(
        location=_together(scheme, user and user.partition(":")[0], place, shown),
        schema=schema,
        transaction_idle_timeout=_seconds(options.get("transaction_idle_timeout", "60")),
        pooler=_flag(options.get("pooler", "false")),
        parameters=dict(parameters),
    )


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidValueError(f"db_path: pooler must be true or false, not {excerpt(text)}")
    return text == "true"


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


def _together(scheme: str, user: str | None, place: str, pairs: list[tuple[str, str]]) -> str:
    """Return a URL as it was taken apart."""
    query = f"?{urlencode(pairs, safe='/', quote_via=quote)}" if pairs else ""
    return f"{scheme}{user}@{place}{query}" if user else f"{scheme}{place}{query}"
