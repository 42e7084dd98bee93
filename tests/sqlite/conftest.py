"""Fixtures of the tests of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import make_item
from tests.sqlite.foreign_keys import RUNS, record


@pytest.fixture
def runs_path(path: Path) -> Path:
    """Make a store of 50 finished runs, and one that goes on."""
    with StateStore(path, synchronous="NORMAL") as store, store.transaction():
        for number in range(RUNS):
            record(store, f"r{number}")
        record(store, "today", items=0, status=None)
        store.upsert_intel_item(make_item("kept", "today"))
    return path
