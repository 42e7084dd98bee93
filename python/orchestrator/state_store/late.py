"""Imports that calls make when they first need them: a program that writes once and ends needs none of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


@contextmanager
def importing() -> Iterator[None]:
    """Say by an error of the store's own that there is no descriptor left to import with."""
    try:
        yield
    except OSError as error:
        from orchestrator.state_store.exceptions import CannotOpenError

        raise CannotOpenError(f"{error}; nothing was done; close some files, and call again") from error


def utc_bounds(
    operation: str, since: datetime | str | None, until: datetime | str | None
) -> tuple[str | None, str | None]:
    """Return the bounds of a call in the store's format, as `times.utc` does."""
    if since is None and until is None:
        return None, None
    with importing():
        from orchestrator.state_store.times import utc

    return utc(since, operation, "since"), utc(until, operation, "until")
