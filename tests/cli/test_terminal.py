"""Tables fit the terminal, ids are never cut, and what is stored cannot act on it."""

from __future__ import annotations

import re

import pytest
from orchestrator.state_store import StateStore

from tests.cli.conftest import HOSTILE_IDS, Terminal, acts, on_terminal, piped, width

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
VERBS = (
    ("runs", "ls"),
    ("items", "ls"),
    ("items", "ls", "--best", "scores_json.total", "--newest"),
    ("runs", "show", "daily-2"),
    ("items", "show", "daily-2/item-3"),
    ("runs", "diff", "daily-1", "daily-2"),
    ("runs", "diff", "daily-3"),
    ("stats",),
    ("sql", "SELECT run_id, notes FROM runs"),
    ("check", "--stale", "10m"),
)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_lines_fit(db: str, columns: int, words: tuple[str, ...]) -> None:
    seen = on_terminal(columns, db, *words)
    assert seen.status == (1 if words[0] == "check" else 0)
    lines = [COLOUR.sub("", line) for line in seen.lines]
    assert lines
    assert [line for line in lines if width(line) > columns] == []
    assert [line for line in lines if line != line.rstrip()] == [], "spaces at the end"


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_ids_are_whole_and_free_text_gives_way(db: str, columns: int) -> None:
    text = on_terminal(columns, db, "items", "ls", "--limit", "0").text
    assert {f"daily-{run}/item-{run + key}" for run in (1, 2, 3) for key in range(4)} <= set(
        re.split(r"[\s\x1b]", text)
    )
    assert "…" in text
    assert "…" not in on_terminal(400, db, "items", "ls").text


def test_an_id_that_is_wider_than_the_terminal_is_whole(hostile: str) -> None:
    text = on_terminal(60, hostile, "runs", "ls").text.replace("\r\n", "\n")
    assert [each for each in HOSTILE_IDS if f"\n{each}\n" not in text] == []


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_run_shows_when_it_started_its_last_sign_and_that_it_is_silent(db: str, columns: int) -> None:
    seen = on_terminal(columns, db, "runs", "ls", NO_COLOR="1")
    heading = seen.lines[0]
    assert re.search(r"Started \(UTC\).*Last sign \(UTC\)", heading)
    [silent] = [line for line in seen.lines if line.startswith("daily-3")]
    time_and_age = r"(\d\d-\d\d )?\d\d:\d\d(:\d\d)? +(59m|1h) ago"
    assert re.search(rf"silent .*{time_and_age} +{time_and_age}", silent)
    assert "1 run silent: running, but no sign of life for 10 min" in seen.text
    assert "ConnectionError: the feed" in seen.text, "the reason of a failure is what people look for"
    patient = on_terminal(columns, db, "runs", "ls", "--stale", "1d")
    assert "silent" not in patient.text


def test_the_values_of_a_document_begin_in_one_column(db: str) -> None:
    """Guards against labels that are wider than usual, and push their values to the right."""
    with StateStore(db) as store:
        store.merge_telemetry("daily-3", {"the database": {"read": "here", "written": "here"}})
    lines = on_terminal(80, db, "runs", "show", "daily-3", NO_COLOR="1").lines
    assert [line.index("here") for line in lines if line.startswith("the database.")] == [22, 22]


def test_times_are_local(db: str) -> None:
    assert "Started (CEST)" in on_terminal(80, db, "runs", "ls", TZ="CEST-2").text
    assert "+00:00" in piped(db, "runs", "ls", TZ="CEST-2").stdout, "and UTC for programs"


def test_colour_is_asked_for_or_not_wanted(db: str) -> None:
    assert COLOUR.search(on_terminal(80, db, "runs", "ls").text)
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}):
        assert not COLOUR.search(on_terminal(80, db, "runs", "ls", **variables).text)
    forced = piped(db, "runs", "ls", FORCE_COLOR="1").stdout
    assert COLOUR.search(forced)
    assert "Last sign (UTC)" in forced
    assert not COLOUR.search(piped(db, "runs", "ls").stdout)


@pytest.mark.parametrize("columns", [60, 200])
@pytest.mark.parametrize(
    "words",
    [("runs", "ls"), ("items", "ls"), ("runs", "diff", "..", "run 1"), ("sql", "SELECT * FROM runs"), ("check",)]
    + [("runs", "show", "--", run_id) for run_id in HOSTILE_IDS[:5]]
    + [("items", "show", "--", f"{run_id}/2") for run_id in HOSTILE_IDS[:5]],
    ids=" ".join,
)
def test_nothing_that_is_stored_acts_on_a_terminal(hostile: str, columns: int, words: tuple[str, ...]) -> None:
    seen = on_terminal(columns, hostile, *words)
    assert seen.status == 0, seen.text
    assert acts(COLOUR.sub("", seen.text).replace("\r\n", "\n")) == set()
    assert len(seen.text) < 100_000, "a title of 1 MB is cut"


def test_it_asks_before_it_deletes(db: str) -> None:
    terminal = Terminal(80, db, "runs", "delete", "daily-1").wait_for("Delete 1 run and 4 items?")
    terminal.type("n\n")
    seen = terminal.end()
    assert seen.status == 1
    assert "nothing was changed" in seen.text
    assert "daily-1" in piped(db, "runs", "ls", "-o", "ids").stdout
    terminal = Terminal(80, db, "runs", "delete", "daily-1").wait_for("Delete 1 run and 4 items?")
    terminal.type("y\n")
    assert terminal.end().status == 0
    assert "daily-1" not in piped(db, "runs", "ls", "-o", "ids").stdout


def test_it_shows_what_is_silent_and_asks_before_it_recovers(db: str) -> None:
    terminal = Terminal(80, db, "runs", "recover", "--older-than", "10m").wait_for("Finish 1 run as crashed?")
    terminal.type("y\n")
    assert terminal.end().status == 0
    assert piped(db, "runs", "ls", "--status", "crashed", "-o", "ids").stdout == "daily-3\n"


def test_long_work_has_a_bar_and_short_work_has_none() -> None:
    program = """
import sys
from orchestrator.state_store._cli.progress import progress
with progress("backup", "pages") as tell:
    pass
print("short", "rich" in sys.modules)
with progress("backup", "pages") as tell:
    tell(300, 1200)
    input()
print("end")
"""
    terminal = Terminal(80, "", program=program).wait_for("short False").wait_for("300 of 1,200 pages, 25%")
    terminal.type("\n")
    seen = terminal.end()
    assert seen.status == 0
    assert seen.text.rstrip().endswith("end"), "the bar is gone"
