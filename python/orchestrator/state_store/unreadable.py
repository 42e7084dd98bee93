"""Values that cannot be decoded, since another program wrote them: for those who show a store, they come as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MOST_KEPT = 1000
MOST_NAMED = 5


class Unreadable:
    """Which values could not be decoded, and why, each of them once; of very many only the first are kept."""

    def __init__(self) -> None:
        self._messages: dict[str, None] = {}

    def add(self, message: str) -> None:
        """Keep a message."""
        if len(self._messages) < MOST_KEPT:
            self._messages[message] = None

    def __bool__(self) -> bool:
        """Return whether there was any."""
        return bool(self._messages)

    @property
    def number(self) -> str:
        """How many there were."""
        return f"{MOST_KEPT:,} or more" if len(self._messages) == MOST_KEPT else str(len(self._messages))

    @property
    def first(self) -> list[str]:
        """The first messages."""
        return list(self._messages)[:MOST_NAMED]


_FOUND: ContextVar[Unreadable | None] = ContextVar("_FOUND", default=None)


@contextmanager
def shown() -> Iterator[Unreadable]:
    """Have calls return the text of what they cannot decode, instead of raising InvalidJSONError; yield what it was."""
    found = Unreadable()
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)


def instead(message: str, text: bytes) -> str | None:
    """Return what comes of a value, or None where the call has to raise an error; the core calls this."""
    found = _FOUND.get()
    if found is None:
        return None
    # Without the name of the call: several may read a value.
    found.add(message.partition(" ")[2])
    return f"unreadable: {text.decode('utf-8', 'replace')}"
