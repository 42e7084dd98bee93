"""What programs get: JSON, JSON lines, CSV, ids and tab-separated text, in UTC, uncut, and safe to print."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore

from tests.cli.conftest import HOSTILE, HOSTILE_IDS, PROGRAM, acts, piped
from tests.helpers import in_thread, make_item

FORMS = ("table", "json", "jsonl", "csv", "ids")


def parsed(form: str, text: str) -> list[dict[str, Any]]:
    """Return the rows of an output."""
    if form == "json":
        rows = json.loads(text)
        return rows if isinstance(rows, list) else [rows]
    lines = text.removesuffix("\n").split("\n")
    if form == "jsonl":
        return [json.loads(line) for line in lines]
    if form == "csv":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    heading, *rest = [line.split("\t") for line in lines]
    return [dict(zip(heading, values, strict=True)) for values in rest]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_the_same_rows(db: str, form: str) -> None:
    done = piped(db, "runs", "ls", "-o", form, "--fields", "run_id,status,notes")
    assert done.returncode == 0
    if form == "ids":
        assert done.stdout.split() == ["weekly-1", "daily-3", "daily-2", "daily-1"]
        return
    rows = parsed(form, done.stdout)
    assert [row["run_id"] for row in rows] == ["weekly-1", "daily-3", "daily-2", "daily-1"]
    assert list(rows[0]) == ["run_id", "status", "notes"], "in the order of --fields"
    assert rows[2]["notes"] == "ConnectionError: the feed at example.com did not answer within 30 s"


def test_ids_are_printed_whatever_the_fields(db: str) -> None:
    assert piped(db, "runs", "ls", "-o", "ids", "--fields", "status", "--limit", "1").stdout == "weekly-1\n"
    assert piped(db, "items", "ls", "-o", "ids", "--fields", "title", "--limit", "1").stdout == "daily-1/item-1\n"


def test_json_has_what_the_store_has(db: str) -> None:
    rows = json.loads(piped(db, "items", "ls", "--json", "--limit", "0").stdout)
    assert len(rows) == 12
    assert rows[0]["scores_json"] == {"total": 20, "fit": 0.1, "a=b": 1}
    [run] = json.loads(piped(db, "runs", "ls", "--json", "--status", "running").stdout)
    assert (run["run_id"], run["silent"], run["settings_snapshot_json"]["limit"]) == ("daily-3", True, 30)
    assert run["last_sign_of_life"] == run["started_at"]
    shown = json.loads(piped(db, "runs", "show", "daily-2", "-o", "json").stdout)
    assert shown["telemetry"] == {"seconds": 1.0, "errors": []}
    assert shown["items"] == 4
    assert {"decision": None, "items": 1} in shown["decisions"]
    assert json.loads(piped(db, "runs", "ls", "--json", "--type", "none").stdout) == []


def test_text_is_not_cut_in_a_pipe(hostile: str) -> None:
    [row, *_] = parsed("table", piped(hostile, "items", "ls", "--fields", "title").stdout)
    assert row["title"].endswith("T" * 1_000_000)


WORDS = (
    [("runs", "ls"), ("items", "ls", "--limit", "0"), ("runs", "diff", "..", "run 1"), ("check",)]
    + [("runs", "show", "--", run_id) for run_id in HOSTILE_IDS[:5]]
    + [("items", "show", "--", f"{run_id}/2") for run_id in HOSTILE_IDS[:5]]
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_nothing_that_is_stored_acts_where_it_is_printed(
    run: Callable[..., Result], hostile: str, words: tuple[str, ...], form: str
) -> None:
    result = run(words[0], *words[1:2], "-o", form, *words[2:], db=hostile)
    assert result.exit_code == 0, result.stderr
    assert acts(result.stdout) | acts(result.stderr) == set()
    if form.startswith("json") and result.stdout:
        assert isinstance(parsed(form, result.stdout), list)


def test_json_gives_hostile_text_back(hostile: str) -> None:
    rows = json.loads(piped(hostile, "items", "ls", "--json", "--limit", "1").stdout)
    assert rows[0]["item_id"] == f"../{HOSTILE}"
    assert rows[0]["explainability_json"] == "\ud800 alone"


def make_deep(path: Path) -> None:
    """Make a store with JSON that is as deep as `json.dumps` writes it."""
    deep: Any = 1
    for _ in range(980):
        deep = [deep]
    with StateStore(path) as store:
        store.start_run("run-1", "daily", deep)
        store.write_telemetry("run-1", deep)
        store.upsert_intel_item(make_item(claims_json=deep, scores_json=deep, risk_flags_json=deep))


def test_json_may_be_as_deep_as_the_store_holds_it(path: Path) -> None:
    in_thread(make_deep, path)
    for words in (["runs", "ls"], ["runs", "show", "run-1"], ["items", "ls"], ["items", "show", "item-1"]):
        for form in ("table", "json", "csv"):
            done = piped(str(path), *words, "-o", form)
            assert done.returncode == 0, done.stderr


def test_output_in_another_encoding_is_json_all_the_same(db: str) -> None:
    done = piped(db, "items", "ls", "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "漢字" in json.loads(done.stdout)[0]["title"]
    assert piped(db, "items", "ls", PYTHONIOENCODING="ascii", PYTHONUTF8="0").returncode == 0


LOADED = f"""
import sys
sys.argv = ["orchestrator-state", *sys.argv[1:]]
try:
    {PROGRAM.removeprefix("import sys; ").replace("; ", chr(10) + "    ")}
finally:
    print(*sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("runs", "ls", "--help"),
        ("runs", "ls", "--json"),
        ("runs", "ls"),
        ("items", "ls", "-o", "csv"),
        ("stats",),
    ],
    ids=" ".join,
)
def test_what_draws_nothing_loads_nothing_that_draws(db: str, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", LOADED, *words]
    done = subprocess.run(command, capture_output=True, text=True, env={"ORCHESTRATOR_STATE_DB": db}, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded, "the test sees nothing"
    assert loaded & {"rich", "jinja2", "starlette", "uvicorn", "psycopg", "asyncio", "sqlite_utils"} == set()


class TestWhatIsLeftOutIsSaid:
    def test_and_how_to_go_on(self, db: str) -> None:
        first = piped(db, "runs", "ls", "-o", "ids", "--limit", "3")
        assert first.stderr.startswith("orchestrator-state: 3 of 4 runs; the next: --cursor ")
        cursor = first.stderr.split("--cursor ")[1].split(",")[0]
        rest = piped(db, "runs", "ls", "-o", "ids", "--limit", "3", "--cursor", cursor)
        assert (rest.stdout, rest.stderr) == ("daily-1\n", "")

    def test_of_items_without_counting_them(self, db: str) -> None:
        seen, cursor = [], None
        while True:
            page = piped(db, "items", "ls", "-o", "ids", "--limit", "5", *(["--cursor", cursor] if cursor else []))
            seen += page.stdout.split()
            if not page.stderr:
                break
            assert "5 items, and there are more; the next: --cursor " in page.stderr
            cursor = page.stderr.split("--cursor ")[1].split(",")[0]
        assert seen == [f"daily-{run}/item-{run + key}" for run in (1, 2, 3) for key in range(4)]

    def test_where_ids_are_filtered_by_the_command(self, db: str) -> None:
        words = ("items", "ls", "-o", "ids", "--id-prefix", "daily-2/", "--limit", "3")
        first = piped(db, *words)
        assert first.stdout.split() == ["daily-2/item-2", "daily-2/item-3", "daily-2/item-4"]
        cursor = first.stderr.split("--cursor ")[1].split(",")[0]
        assert piped(db, *words, "--cursor", cursor).stdout == "daily-2/item-5\n"

    def test_of_sql(self, db: str) -> None:
        done = piped(db, "sql", "SELECT item_id FROM intel_items", "--limit", "2")
        assert done.stderr == "orchestrator-state: the first 2 rows; all: --limit 0\n"
        assert len(done.stdout.splitlines()) == 3
        assert piped(db, "sql", "SELECT item_id FROM intel_items", "--limit", "12").stderr == ""

    def test_where_nothing_is_there(self, db: str) -> None:
        assert piped(db, "runs", "ls", "--status", "odd").stderr == "orchestrator-state: no run matches\n"
        assert piped(db, "items", "ls", "--type", "odd").stderr == "orchestrator-state: no item matches\n"
