"""A store that is locked is waited for, and that is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result
from orchestrator.state_store._cli import progress

from tests.helpers import TIMEOUT

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
connection.execute("SELECT 1 FROM runs").fetchall()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_named_before_it_is_given_up(
    run: Callable[..., Result], db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against half a minute without a word."""
    said: list[str] = []
    command = [sys.executable, "-c", LOCKER, db]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdin
        assert locker.stdout
        assert locker.stdout.readline() == "locked\n"
        release = locker.stdin.close

        def say(message: str) -> None:
            said.append(message)
            release()

        monkeypatch.setattr(progress, "LINE_EVERY", 0.05)
        monkeypatch.setattr(progress, "say", say)
        try:
            done = run("runs", "ls", "-o", "ids")
        finally:
            release()
            locker.wait(TIMEOUT)
    assert done.exit_code == 0
    assert done.stdout.split()[0] == "weekly-1"
    assert said[0].startswith("waiting for the store")
