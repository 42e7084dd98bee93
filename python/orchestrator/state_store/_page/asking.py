"""What an address asks for. Ids are in the query: a run may be called `..`, or have slashes in its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from orchestrator.state_store import InvalidValueError
from orchestrator.state_store.excerpts import excerpt
from starlette.datastructures import QueryParams

Asked = QueryParams


@dataclass(frozen=True)
class Answer:
    """What a view found: `data` is its JSON twin, and what its template shows together with `more`."""

    data: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)


PARAMETERS = {
    "runs": ("type", "status", "since", "cursor"),
    "run": ("id", "decision", "undecided", "order", "by", "cursor"),
    "item": ("id",),
    "compare": ("before", "after", "all"),
    "plot": ("type", "path", "runs"),
    "search": ("q", "long", "cursor"),
}
"""What the address of a view may have; all else is left out, and so in no link of the view."""

_UNLIMITED = ("id", "before", "after", "q", "cursor")
_MOST_CHARACTERS = 600
"""How long the other parameters are together at most: nearly every link of a view has them."""


def known(view: str, query: QueryParams) -> Asked:
    """Return the parameters that a view has, each of them once."""
    kept = {pair: pair for pair in query.multi_items() if pair[0] in PARAMETERS[view]}
    if len(urlencode([pair for pair in kept if pair[0] not in _UNLIMITED], errors="replace")) > _MOST_CHARACTERS:
        raise InvalidValueError(f"the address is too long: filters and order may have {_MOST_CHARACTERS} characters")
    return Asked(list(kept))


def address(view: str, /, **query: str | None) -> str:
    """Return the address of a view, from that of any other; parameters that are None are left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{view}?{urlencode(given, errors='replace')}" if given else view


def changed(view: str, asked: Asked, changes: dict[str, str | None]) -> str:
    """Return the address of a view with some parameters changed; a list begins at its first page then."""
    kept = [(name, value) for name, value in asked.multi_items() if name not in changes and name != "cursor"]
    query = kept + [(name, value) for name, value in changes.items() if value is not None]
    return f"{view}?{urlencode(query, errors='replace')}" if query else view


def wanted(asked: Asked, name: str) -> str:
    """Return a parameter that a view cannot do without."""
    value = asked.get(name)
    if value is None:
        raise InvalidValueError(f"the address lacks {name}=")
    return str(value)


def choice(asked: Asked, name: str, choices: tuple[str, ...]) -> str:
    """Return a parameter that is one of a few; the first of them where it is missing."""
    value = asked.get(name, choices[0])
    if value not in choices:
        raise InvalidValueError(f"{name} must be one of {', '.join(choices)}, not {excerpt(value)}")
    return str(value)
