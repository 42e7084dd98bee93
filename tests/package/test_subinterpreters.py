"""Subinterpreters that share the interpreter lock: what the documentation says works."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import in_process
from tests.programs import subinterpreters


def test_stores_of_several_interpreters_share_a_file(path: Path) -> None:
    """Classes, errors among them, are each interpreter's own: one that kept those of the first would not catch."""
    ends = in_process(subinterpreters.write_in_each, str(path))
    assert ends == dict.fromkeys(("main", "sub 1", "sub 2"), "completed")
