"""Filters find what they say, and what is not understood is wrong usage."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore

from tests.helpers import make_item

Run = Callable[..., Result]


def ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--status", "failed"], ["daily-2"]),
        (["--status", "failed", "--status", "running"], ["daily-3", "daily-2"]),
        (["--type", "weekly"], ["weekly-1"]),
        (["--since", "90m"], ["weekly-1", "daily-3"]),
        (["--until", "90m"], ["daily-2", "daily-1"]),
        (["--since", "2h30m", "--until", "30m"], ["daily-3", "daily-2"]),
        (["--since", "1970-01-01", "--until", "2100-01-01T00:00+05:30"], ["weekly-1", "daily-3", "daily-2", "daily-1"]),
        (["--id-prefix", "week"], ["weekly-1"]),
        (["--oldest", "--limit", "2"], ["daily-1", "daily-2"]),
        (["--newest", "--limit", "1"], ["weekly-1"]),
        (["--limit", "0"], ["weekly-1", "daily-3", "daily-2", "daily-1"]),
    ],
    ids=str,
)
def test_runs(run: Run, words: list[str], wanted: list[str]) -> None:
    assert ids(run("runs", "ls", "-o", "ids", *words)) == wanted


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--run", "daily-1", "--decision", "promote"], ["1/item-2"]),
        (["--run", "daily-1", "--undecided"], ["1/item-1", "1/item-4"]),
        (["--run", "daily-1", "--newest", "--limit", "2"], ["1/item-4", "1/item-3"]),
        (["--where", "scores_json.total >= 120"], ["3/item-6"]),
        (["--where", "scores_json.total>=100", "--where", "scores_json.total<120"], ["2/item-5", "3/item-5"]),
        (["--where", "scores_json.total = 20"], ["1/item-1"]),
        (
            [f"--where=scores_json.total{each}" for each in (">=100", "<=120", "!=100", "<=120", "?")],
            ["3/item-6"],
        ),
        (["--run", "daily-1", "--where", "scores_json.total != 20"], ["1/item-2", "1/item-3", "1/item-4"]),
        (["--run", "daily-1", "--where", "risk_flags_json ~ unverified"], ["1/item-1", "1/item-3"]),
        (["--run", "daily-1", "--where", 'risk_flags_json[0] = "unverified"'], ["1/item-1", "1/item-3"]),
        (["--run", "daily-1", "--where", "risk_flags_json[0]?"], ["1/item-1", "1/item-3"]),
        (["--run", "daily-1", "--where", "!risk_flags_json[0]?"], ["1/item-2", "1/item-4"]),
        (["--run", "daily-1", "--where", "! risk_flags_json[0] ?"], ["1/item-2", "1/item-4"]),
        (["--run", "daily-1", "--where", 'scores_json."a=b" > 3'], ["1/item-4"]),
        (["--run", "daily-1", "--where", "scores_json.fit<0.2"], ["1/item-1"]),
        (["--best", "scores_json.total", "--limit", "3"], ["3/item-6", "2/item-5", "3/item-5"]),
        (["--best", "scores_json.total", "--newest", "--limit", "2"], ["3/item-6", "3/item-5"]),
        (["--id-prefix", "daily-3/item-4"], ["3/item-4"]),
        (["--since", "1h"], []),
        (["--type", "other"], []),
    ],
    ids=str,
)
def test_items(run: Run, words: list[str], wanted: list[str]) -> None:
    assert ids(run("items", "ls", "-o", "ids", *words)) == [f"daily-{each}" for each in wanted]


@pytest.mark.parametrize("words", ["", "--best scores_json.total", "--id-prefix run-1/", "--newest"])
def test_all_items_are_more_than_a_page(run: Run, tmp_path: object, words: str) -> None:
    path = f"{tmp_path}/many.db"
    with StateStore(path, synchronous="NORMAL") as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"run-1/{n:04}", scores_json={"total": n}) for n in range(1234))
    every = ids(run("items", "ls", "-o", "ids", "--limit", "0", *words.split(), db=path))
    assert sorted(every) == [f"run-1/{n:04}" for n in range(1234)]
    most = run("items", "ls", "-o", "ids", "--limit", "700", *words.split(), db=path)
    assert ids(most) == every[:700]
    cursor = most.stderr.split("--cursor ")[1].split(",")[0]
    rest = run("items", "ls", "-o", "ids", "--limit", "0", "--cursor", cursor, *words.split(), db=path)
    assert ids(rest) == every[700:]


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "ls", "--since", "yesterday"],
        ["runs", "ls", "--until", "7 parsecs"],
        ["runs", "ls", "--since", "99999999999999d"],
        ["runs", "ls", "--stale", "-1"],
        ["runs", "ls", "--stale", ""],
        ["runs", "ls", "--limit", "-1"],
        ["runs", "ls", "--limit", "many"],
        ["runs", "ls", "--limit", "99999999999"],
        ["runs", "ls", "--cursor", "abc"],
        ["runs", "ls", "--fields", "run_id,nothing"],
        ["runs", "ls", "--fields", ""],
        ["runs", "ls", "-o", "xml"],
        ["runs", "ls", "--no-such-option"],
        ["runs", "ls", "surplus"],
        ["runs", "nothing"],
        ["nothing"],
        ["items", "ls", "--where", "scores_json.total"],
        ["items", "ls", "--where", ""],
        ["items", "ls", "--where", "scores_json.total >= "],
        ["items", "ls", "--where", "scores_json.total == 20"],
        ["items", "ls", "--where", "= 3"],
        ["items", "ls", "--where", "title = x"],
        ["items", "ls", "--where", "scores_json.. = 3"],
        ["items", "ls", "--where", "scores_json.total = [1]"],
        ["items", "ls", "--where", "scores_json.total >= true"],
        ["items", "ls", "--best", "total"],
        ["items", "ls", "--undecided", "--decision", "block"],
        ["items", "ls", "--fields", "scores"],
        ["items", "decide", "daily-1/item-1"],
        ["items", "decide", "daily-1/item-1", "block", "--clear"],
        ["runs", "recover"],
        ["runs", "recover", "--older-than", "10m", "--status", "running"],
        ["prune"],
        ["prune", "--keep-last", "-3"],
        ["prune", "--older-than", "90"],
        ["sql", "SELEC 1"],
        ["sql", "DELETE FROM runs"],
        ["sql", "SELECT 1; SELECT 2"],
        ["stats", "-o", "ids"],
        ["runs", "tail", "-o", "csv"],
        ["page", "--host", "0.0.0.0"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_what_is_not_understood_is_wrong_usage(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("orchestrator-state: ")
    assert result.stderr.count("\n") == 1


def test_a_field_that_is_misspelt_is_named(run: Run) -> None:
    assert "did you mean notes?" in run("runs", "ls", "--fields", "note").stderr
