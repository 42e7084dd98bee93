"""Stored text and JSON values as text that is safe to show: what comes from anywhere may hold anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Controls, what changes the direction of text, what cannot be seen, and halves of surrogate pairs.

U+200C and U+200D are not among them: Persian and emoji need them, and they hide nothing.
"""

_UNSAFE_BUT_LINES = re.compile(UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text with its unsafe characters as escapes; with `lines`, line breaks and tabs stay.

    >>> print(visible("red\x1b[31m and \u202e back"))
    red\x1b[31m and \u202e back
    """
    return (_UNSAFE_BUT_LINES if lines else UNSAFE).sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def cut(text: str, most: int) -> str:
    """Return the first `most` characters of a text, the last of them an ellipsis if it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown(value: Any, most: int = 1000) -> str:
    """Return a JSON value as people read it: lists without brackets and quotes, numbers as JSON has them, safe and cut.

    >>> shown(["osv", "rss"]), shown(True), shown(None), shown([]), shown({"a": 1})
    ('osv, rss', 'true', 'null', '[]', '{"a": 1}')
    """
    if isinstance(value, str):
        return visible(cut(value, most))
    if isinstance(value, list) and value and all(isinstance(each, str | int | float) for each in value[:most]):
        # Each has a letter and a comma at least, so no more of them can be seen.
        return visible(cut(", ".join(each if isinstance(each, str) else _json(each) for each in value[:most]), most))
    return visible(cut(_json(value), most))


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return f"a {type(value).__name__} too large to show"


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a JSON document with its path, as `where` has it; a list of plain values is one value.

    An empty dict or list is a value, too. The document itself has the path `""`.

    >>> dict(leaves({"model": {"name": "m", "sizes": [1, 2]}, "a.b": None, "errors": [{"text": "no"}]}))
    {'model.name': 'm', 'model.sizes': [1, 2], '"a.b"': None, 'errors[0].text': 'no'}
    """
    # A stack instead of recursion: documents may be nested more deeply than Python calls.
    waiting = [iter([(path, document)])]
    while waiting:
        for place, value in waiting[-1]:
            if inside := _inside(place, value):
                waiting.append(inside)
                break
            yield place, value
        else:
            waiting.pop()


def _inside(place: str, value: Any) -> Iterator[tuple[str, Any]] | None:
    if isinstance(value, dict) and value:
        return ((f"{place}.{_key(key)}" if place else _key(key), each) for key, each in value.items())
    if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        return ((f"{place}[{index}]", each) for index, each in enumerate(value))
    return None


_PLAIN_KEY = re.compile(r'[^.\[\]"\\]+')


def _key(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return key
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def count(number: int, noun: str) -> str:
    """Return a number and what it counts: `1 run`, `1,200 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """Return a number of bytes in the unit that suits it.

    >>> size(999), size(1_234_000), size(2.5e12)
    ('999 B', '1.23 MB', '2,500 GB')
    """
    if number < 1000:
        return f"{number} B"
    for unit in ("kB", "MB"):
        number /= 1000
        if number < 999.5:
            return f"{number:.3g} {unit}"
    return f"{number / 1000:,.3g} GB" if number < 999.5e3 else f"{number / 1000:,.0f} GB"
