"""`runs diff` finds what is new, gone and decided otherwise, and says what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result
from orchestrator.state_store import StateStore

from tests.cli.conftest import on_terminal, piped
from tests.helpers import make_item

Run = Callable[..., Result]


def test_settings_telemetry_decisions_and_items(run: Run) -> None:
    found = json.loads(run("runs", "diff", "daily-1", "daily-2", "--json").stdout)
    assert (found["before"], found["after"]) == ("daily-1", "daily-2")
    assert found["settings"] == {"changed": 1, "same": 2, "shown": [{"path": "limit", "before": 10, "after": 20}]}
    assert found["telemetry"]["shown"] == [{"path": "seconds", "before": 0.5, "after": 1.0}]
    assert {"decision": "promote", "before": 1, "after": 1} in found["decisions"]
    assert [each["item_id"] for each in found["new"]["shown"]] == ["daily-2/item-5"]
    assert [(each["item_id"], each["before"]) for each in found["gone"]["shown"]] == [("daily-1/item-1", None)]
    changes = [(each["item_id"], each["before"], each["after"]) for each in found["decided"]["shown"]]
    assert changes == [
        ("daily-2/item-2", "promote", "block"),
        ("daily-2/item-3", "block", None),
        ("daily-2/item-4", None, "promote"),
    ]
    assert found["unmatched"] == 0


def test_without_b_it_is_from_the_last_completed_run_of_the_type(run: Run) -> None:
    found = json.loads(run("runs", "diff", "daily-3", "--json").stdout)
    assert (found["before"], found["after"]) == ("daily-1", "daily-3"), (
        "daily-2 failed, and weekly-1 is of another type"
    )
    result = run("runs", "diff", "daily-1")
    assert result.exit_code == 3
    assert "no run of type 'daily' was completed before 'daily-1'" in result.stderr


def test_rows_and_ids_for_programs(run: Run) -> None:
    assert run("runs", "diff", "daily-1", "daily-2", "-o", "ids").stdout.split() == [
        "daily-2/item-5",
        "daily-1/item-1",
        "daily-2/item-2",
        "daily-2/item-3",
        "daily-2/item-4",
    ]
    lines = [line.split("\t") for line in run("runs", "diff", "daily-1", "daily-2").stdout.splitlines()]
    assert lines[0] == ["section", "name", "before", "after", "title"]
    assert ["settings", "limit", "10", "20", ""] in lines


def test_what_is_left_out_is_counted(run: Run) -> None:
    result = run("runs", "diff", "daily-1", "daily-2", "--limit", "1")
    assert result.stderr == "orchestrator-state: 2 more under 'decided': --limit 0 has all\n"
    assert run("runs", "diff", "daily-1", "daily-2", "--limit", "0").stderr == ""


def test_a_terminal_shows_it_in_words(db: str) -> None:
    seen = on_terminal(80, db, "runs", "diff", "daily-1", "daily-2", NO_COLOR="1")
    assert "Items  1 new, 1 gone, 3 decided otherwise" in seen.text
    assert "gone, was undecided" in seen.text
    assert "promote -> block" in seen.text
    assert "+10  +100 %" in seen.text


def compared(path: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Compare two runs of these settings, telemetry and items."""
    with StateStore(path) as store:
        for run_id, run in (("a", before), ("b", after)):
            store.start_run(run_id, "daily", run.get("settings", {}))
            if "telemetry" in run:
                store.write_telemetry(run_id, run["telemetry"])
            store.upsert_intel_items_batch(make_item(each, run_id) for each in run.get("items", ()))
    found: dict[str, Any] = json.loads(piped(str(path), "runs", "diff", "a", "b", "--json").stdout)
    return found


def test_items_without_the_id_of_their_run_stay_with_the_first(path: Path) -> None:
    """One that came again is in the first run alone: to call it gone would be wrong."""
    found = compared(path, {"items": ["x", "y", "ab", "a/1"]}, {"items": ["x", "z", "b/2"]})
    assert [each["item_id"] for each in found["new"]["shown"]] == ["z", "b/2"]
    assert [each["item_id"] for each in found["gone"]["shown"]] == ["a/1"]
    assert found["unmatched"] == 3


def test_values_that_are_equal_in_python_alone_differ(path: Path) -> None:
    before = {"a": 1, "b": 1, "c": float("nan"), "d": [1, "x"], "e": None, "only": 0}
    after = {"a": 1.0, "b": True, "c": float("nan"), "d": [1, "x"], "e": 0, "here": None}
    found = compared(path, {"settings": before}, {"settings": after, "telemetry": [1]})
    assert found["settings"]["changed"] == 5
    assert [each["path"] for each in found["settings"]["shown"]] == ["a", "b", "e", "only", "here"]
    assert found["settings"]["shown"][3] == {"path": "only", "before": 0}
    assert found["settings"]["shown"][4] == {"path": "here", "after": None}
    assert found["telemetry"]["shown"] == [{"path": "", "after": [1]}]


def test_numbers_that_no_float_holds_are_shown(path: Path) -> None:
    """Guards against NaN among telemetry, which JSON of Python has and int() refuses."""
    with StateStore(path) as store:
        for run_id, value in (("run-1", float("nan")), ("run-2", 10**400)):
            store.start_run(run_id, "daily", {})
            store.write_telemetry(run_id, {"loss": value, "rate": float("inf")})
    shown = on_terminal(80, str(path), "runs", "diff", "run-1", "run-2")
    assert shown.status == 0
    assert any(line.startswith("loss") and "NaN" in line for line in shown.lines)
