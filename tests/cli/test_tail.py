"""`runs tail` says what happens, by comparing states."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore
from orchestrator.state_store._cli import tail

from tests.helpers import make_item

Run = Callable[..., Result]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch, db: str) -> Iterator[Callable[..., None]]:
    """Return what sets the steps that happen between two looks; after the last, there is a Ctrl-C."""
    with StateStore(db) as store:
        steps: list[Callable[[StateStore], object]] = []

        def sleep(seconds: float) -> None:
            assert seconds == 2
            if not steps:
                raise KeyboardInterrupt
            steps.pop(0)(store)

        monkeypatch.setattr(tail, "sleep", sleep)
        yield lambda *given: steps.extend(given)


def events(result: Result) -> list[tuple[str, str, str]]:
    assert result.exit_code == 130, result.stderr
    rows: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    return [(row["event"], row["run_id"], row["status"]) for row in rows]


def test_runs_that_start_and_end(run: Run, between: Callable[..., None]) -> None:
    def both(store: StateStore) -> None:
        store.start_run("daily-5", "daily", {})
        store.finish_run("daily-5", "partial")

    between(
        lambda store: store.start_run("daily-4", "daily", {}),
        lambda store: None,
        lambda store: store.finish_run("daily-4", "failed", "no answer"),
        both,
        lambda store: store.recover_stale_runs(60),
        lambda store: store.reopen_run("daily-3"),
        lambda store: store.delete_run("daily-3", force=True),
    )
    assert events(run("runs", "tail", "-o", "jsonl")) == [
        ("started", "daily-4", "running"),
        ("ended", "daily-4", "failed"),
        ("started", "daily-5", "partial"),
        ("ended", "daily-5", "partial"),
        ("ended", "daily-3", "crashed"),
        ("reopened", "daily-3", "running"),
        ("deleted", "daily-3", "running"),
    ]


def test_it_says_why_a_run_failed(run: Run, between: Callable[..., None]) -> None:
    between(lambda store: store.finish_run("daily-3", "failed", "no\x1b[31m answer"))
    result = run("runs", "tail")
    assert result.stderr.startswith("orchestrator-state: 1 run running; waiting")
    assert "ended     daily-3  daily  failed after " in result.stdout
    assert result.stdout.endswith(": no\\x1b[31m answer\n")


def test_old_runs_that_come_into_view_are_no_news(
    run: Run, between: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do when newer ones are deleted."""
    monkeypatch.setattr(tail, "RECENT", 2)
    between(lambda store: store.delete_run("weekly-1"), lambda store: None)
    assert events(run("runs", "tail", "-o", "jsonl")) == []


def test_more_runs_than_are_looked_at(run: Run, between: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "RECENT", 2)

    def many(store: StateStore) -> None:
        for number in range(7):
            store.start_run(f"new-{number}", "daily", {})
            store.finish_run(f"new-{number}", "completed")

    between(many)
    ended = [run_id for event, run_id, _ in events(run("runs", "tail", "-o", "jsonl")) if event == "ended"]
    assert ended == [f"new-{number}" for number in range(7)]


@pytest.mark.parametrize(("status", "exit_code"), [("completed", 0), ("partial", 0), ("failed", 1), ("cancelled", 1)])
def test_one_run_until_it_ends(run: Run, between: Callable[..., None], status: str, exit_code: int) -> None:
    between(
        lambda store: store.upsert_intel_item(make_item("daily-3/more", "daily-3", decision="block")),
        lambda store: store.finish_run("daily-3", status, "its notes"),
    )
    result = run("runs", "tail", "daily-3", "--stale", "10m")
    assert result.exit_code == exit_code
    first, second, last = result.stdout.splitlines()
    assert "running, silent; last sign of life " in first
    assert "; 4 items: " in first
    assert "; 5 items: " in second
    assert f"\t{status}; took " in last
    assert last.endswith("; its notes")


def test_a_run_that_has_ended_already(run: Run) -> None:
    assert run("runs", "tail", "daily-1").exit_code == 0
    failed = run("runs", "tail", "daily-2", "-o", "jsonl")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["items"] == 4


def test_a_run_that_is_deleted_meanwhile(run: Run, between: Callable[..., None]) -> None:
    between(lambda store: store.delete_run("daily-3", force=True))
    assert run("runs", "tail", "daily-3").exit_code == 3


def test_json_of_a_list_without_end_is_lines(run: Run) -> None:
    """Guards against text where --json is asked for."""
    done = run("runs", "tail", "daily-1", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
