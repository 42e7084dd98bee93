"""The command line on PostgreSQL, by a role that may only SELECT; and what the engine does not have."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from orchestrator.state_store import StateStore
from orchestrator.state_store._cli.program import cli

from tests.helpers import make_item
from tests.postgres.test_opening import execute, schema_of

Run = Callable[..., Result]


@pytest.fixture
def owner(url: str) -> Run:
    """Make a store with two runs; return what runs the command as its owner."""
    with StateStore(url) as store:
        for number in (1, 2):
            run_id = f"daily-{number}"
            store.start_run(run_id, "daily", {"limit": number})
            decisions = ("block", None, "promote")
            store.upsert_intel_items_batch(
                make_item(
                    f"{run_id}/{key}", run_id, scores_json={"total": 20 * key}, decision=decisions[key % 3 * number % 3]
                )
                for key in range(5)
            )
            store.write_telemetry(run_id, {"seconds": number})
        store.finish_run("daily-1", "completed")
    return lambda *words, db=url: CliRunner().invoke(cli, ["--db", db, *words])


@pytest.fixture
def reader(owner: Run, url: str) -> Run:
    """Return what runs the command as a role that may only SELECT."""
    schema, role = schema_of(url), f"reader_{schema_of(url)}"
    execute(
        f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role};"
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )
    return lambda *words: owner(*words, db=url.replace("user=postgres", f"user={role}"))


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "ls"],
        ["runs", "show", "daily-1"],
        ["runs", "diff", "daily-2"],
        ["runs", "tail", "daily-1"],
        ["items", "ls", "--where", "scores_json.total >= 40"],
        ["items", "ls", "--best", "scores_json.total", "--limit", "0"],
        ["items", "ls", "--limit", "0"],
        ["items", "show", "daily-1/1"],
        ["stats"],
        ["sql", "SELECT run_id FROM runs ORDER BY run_id"],
        ["sql", "SHOW server_version_num"],
        ["runs", "recover", "--older-than", "0s", "--dry-run"],
        ["runs", "delete", "daily-1", "--dry-run"],
        ["check"],
        ["prune", "--keep-last", "0", "--dry-run"],
        ["prune", "--older-than", "30d", "--dry-run"],
    ],
    ids=" ".join,
)
def test_verbs_that_read_need_no_more_than_select(reader: Run, words: list[str]) -> None:
    result = reader(*words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout


def test_rows_are_those_of_the_store(reader: Run) -> None:
    assert reader("items", "ls", "--best", "scores_json.total", "-o", "ids", "--limit", "2").stdout.split() == [
        "daily-1/4",
        "daily-2/4",
    ]
    found = json.loads(reader("runs", "diff", "daily-2", "--json").stdout)
    assert (found["before"], found["after"]) == ("daily-1", "daily-2")
    assert found["settings"]["shown"] == [{"path": "limit", "before": 1, "after": 2}]
    first = reader("sql", "SELECT item_id FROM intel_items", "--limit", "3")
    assert "the first 3 rows" in first.stderr


WRITES = (
    ("items", "decide", "daily-1/0", "block"),
    ("runs", "delete", "daily-1", "--yes"),
    ("prune", "--keep-last", "0", "--yes"),
)


@pytest.mark.parametrize("words", WRITES, ids=" ".join)
def test_verbs_that_write(reader: Run, owner: Run, words: tuple[str, ...]) -> None:
    refused = reader(*words)
    assert refused.exit_code == 1
    assert "the role may not do it" in refused.stderr
    assert owner(*words).exit_code == 0


@pytest.mark.parametrize("words", [["vacuum"], ["backup", "x"], ["salvage", "x"]], ids=" ".join)
def test_what_the_engine_does_not_have_is_2(owner: Run, words: list[str]) -> None:
    result = owner(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


def test_a_store_that_is_not_there_is_not_made(url: str) -> None:
    result = CliRunner().invoke(cli, ["--db", url, "prune", "--keep-last", "3", "--yes"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert CliRunner().invoke(cli, ["--db", url, "stats"]).exit_code == 1


def test_wrong_sql_is_2(owner: Run) -> None:
    for statement in ("SELEC 1", "SELECT * FROM no_such", "DELETE FROM runs", "SELECT 1; SELECT 2"):
        assert owner("sql", statement).exit_code == 2
