"""Passwords in URLs: none is taken from the command line, and none is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

VARIABLE = "ORCHESTRATOR_STATE_DB"
"""Where a URL with a password may be."""

_URL = re.compile(r"[\w+.-]+://")
_IN_QUERY = re.compile(r"[?&](?:ssl)?password=", re.IGNORECASE)
_SHOWN = (
    (re.compile(r"(\w://[^\s/?#:@]*):[^\s'\"]*@"), r"\1@"),
    (re.compile(r"(\w://[^\s?'\"]*)\?[^\s'\"]*"), r"\1?..."),
)


def has_password(location: str) -> bool:
    """Return whether a URL holds a password, which other users of the machine would see in the list of processes."""
    if not _URL.match(location):
        return False
    rest = location.partition("://")[2]
    return ":" in rest.rpartition("@")[0] or bool(_IN_QUERY.search(unquote(rest)))


def without_passwords(message: str) -> str:
    """Return a message without passwords: those of URLs in it, and that of the variable, which a server may quote."""
    for secret in _secrets(os.environ.get(VARIABLE, "")):
        message = message.replace(secret, "...")
    for url, shown in _SHOWN:
        message = url.sub(shown, message)
    return message


def _secrets(location: str) -> Iterator[str]:
    """Yield the password of a URL, and its parts: one that is not escaped is taken for something else in part."""
    if not has_password(location):
        return
    rest = location.partition("://")[2]
    typed = [rest.rpartition("@")[0].partition(":")[2]]
    typed += [value for name, value in parse_qsl(rest.partition("?")[2]) if name.lower().endswith("password")]
    for secret in typed:
        parts = {secret, unquote(secret), *re.split(r"[@/?#:]", secret)}
        yield from sorted((part for part in parts if len(part) > 2), key=len, reverse=True)
