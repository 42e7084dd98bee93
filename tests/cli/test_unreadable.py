"""What another program wrote and nobody can decode is named on stderr, and all else is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore

from tests.cli.conftest import on_terminal
from tests.helpers import plain_sqlite

Run = Callable[..., Result]
SETTINGS, TELEMETRY = 'run "daily-2", settings_snapshot_json: not JSON', '"daily-2": telemetry_json: not JSON'
SCORES = 'item "daily-2/item-3", scores_json: not JSON'


@pytest.fixture(autouse=True)
def damaged(db: str) -> None:
    """Have a value of each table that is not JSON."""
    plain_sqlite(
        Path(db),
        "UPDATE runs SET settings_snapshot_json = '{settings' WHERE run_id = 'daily-2'",
        "UPDATE telemetry SET telemetry_json = '{telemetry' WHERE run_id = 'daily-2'",
        "UPDATE intel_items SET scores_json = '{scores' WHERE item_id = 'daily-2/item-3'",
    )


@pytest.mark.parametrize(
    ("words", "named", "rest"),
    [
        (["runs", "ls"], [SETTINGS], ["daily-1", "daily-2"]),
        (["runs", "show", "daily-2"], [SETTINGS, TELEMETRY], ["failed", "unreadable: {settings", "{telemetry"]),
        (["runs", "diff", "daily-1", "daily-2"], [SETTINGS, TELEMETRY], ["unreadable: {telemetry", "daily-2/item-5"]),
        (["items", "ls"], [SCORES], ["daily-1/item-1", "daily-2/item-2", "unreadable: {scores"]),
        (["items", "ls", "--best", "scores_json.total", "--limit", "0"], [SCORES], ["daily-2/item-3"]),
        (["items", "show", "daily-2/item-3"], [SCORES], ["unverified", "unreadable: {scores"]),
        (["report", "daily-2"], [SETTINGS, TELEMETRY, SCORES], ["3 unreadable"]),
    ],
)
def test_it_is_named_and_the_rest_is_printed(run: Run, words: list[str], named: list[str], rest: list[str]) -> None:
    done = run(*words)
    assert done.exit_code == 1, done.stderr
    assert [each for each in (SETTINGS, TELEMETRY, SCORES) if each in done.stderr] == named
    assert f"{len(named)} unreadable" in done.stderr
    assert [each for each in rest if each not in done.stdout] == []
    assert "Traceback" not in done.stderr


def test_what_is_not_read_is_no_matter(run: Run, db: str) -> None:
    assert run("runs", "show", "daily-1").exit_code == 0
    assert run("items", "ls", "--fields", "item_id,title").exit_code == 0
    assert run("runs", "tail", "daily-1").exit_code == 0
    assert run("items", "decide", "daily-2/item-3", "monitor").exit_code == 0
    assert run("runs", "delete", "daily-2", "--yes").exit_code == 0
    with StateStore(db, read_only=True) as store:
        assert store.count_intel_items(run_id="daily-2") == 0


def test_of_many_the_first_are_named(run: Run, db: str) -> None:
    plain_sqlite(Path(db), "UPDATE intel_items SET scores_json = '{'")
    done = run("items", "ls")
    assert done.stderr.count("not JSON") == 5
    assert "12 unreadable" in done.stderr


def test_a_terminal_shows_a_table(db: str) -> None:
    seen = on_terminal(80, db, "items", "ls", "--run", "daily-2")
    assert seen.status == 1
    assert len([line for line in seen.lines if line.startswith("daily-2/")]) == 4
