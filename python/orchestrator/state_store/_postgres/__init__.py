"""Stores in PostgreSQL, for several hosts. Imported only for a `postgresql://` URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.store import Store


def store_class() -> type[Store]:
    """Return the class of the engine.

    Raises
    ------
    CannotOpenError
        When psycopg is not installed.
    """
    from orchestrator.state_store.exceptions import CannotOpenError

    try:
        import psycopg  # noqa: F401 (only whether it can be)
    except ImportError as error:
        remedy = "pip install 'orchestrator-state-store[postgres]'"
        raise CannotOpenError(
            f"a postgresql:// store needs psycopg, which cannot be imported ({error}): {remedy}"
        ) from None
    from orchestrator.state_store._postgres.store import Store

    return Store
