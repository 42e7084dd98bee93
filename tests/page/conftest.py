"""The page of a store, without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import application

from tests.browsing import KEY, PREFIX, Client, browser, filled, hostile

__all__ = ["browser", "filled", "hostile"]


@pytest.fixture
def client(filled: Path) -> Iterator[Client]:
    """Return a client of a page that only shows."""
    with StateStore(filled, read_only=True) as store:
        yield Client(application(store, "state.db", PREFIX, KEY))


@pytest.fixture
def hostile_client(hostile: Path) -> Iterator[Client]:
    """Return a client of a page of hostile text."""
    with StateStore(hostile, read_only=True) as store:
        yield Client(application(store, "state.db", PREFIX, KEY))
