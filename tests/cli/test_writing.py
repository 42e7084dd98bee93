"""Verbs that write: decisions, recovery, deleting, and long work; each says what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore
from orchestrator.state_store._cli import progress

from tests.cli.conftest import piped
from tests.helpers import plain_sqlite

Run = Callable[..., Result]


def test_decide_changes_the_decision_and_nothing_else(run: Run, db: str) -> None:
    with StateStore(db) as store:
        before = store.get_intel_item("daily-1/item-1")
    assert before
    dry = run("items", "decide", "daily-1/item-1", "block", "--dry-run", "--json")
    assert json.loads(dry.stdout) == [
        {"item_id": "daily-1/item-1", "before": None, "decision": "block", "decision_reason": None}
    ]
    with StateStore(db) as store:
        assert store.get_intel_item("daily-1/item-1") == before
    assert run("items", "decide", "daily-1/item-1", "block", "--reason", "two sources").exit_code == 0
    with StateStore(db) as store:
        changed = {"decision": "block", "decision_reason": "two sources"}
        assert store.get_intel_item("daily-1/item-1") == {**before, **changed}
    assert run("items", "decide", "daily-1/item-1", "--clear").exit_code == 0
    with StateStore(db) as store:
        assert store.get_intel_item("daily-1/item-1") == before


class TestRecover:
    def test_a_dry_run_says_what_is_silent(self, run: Run, db: str) -> None:
        result = run("runs", "recover", "--older-than", "10m", "--dry-run", "-o", "ids")
        assert (result.exit_code, result.stdout) == (0, "daily-3\n")
        assert result.stderr == "orchestrator-state: 1 run would be recovered\n"
        assert run("runs", "ls", "--status", "running", "-o", "ids").stdout == "daily-3\n"

    def test_it_finishes_them(self, run: Run) -> None:
        result = run("runs", "recover", "--older-than", "10m", "--status", "lost", "--json")
        assert [(run["run_id"], run["status"]) for run in json.loads(result.stdout)] == [("daily-3", "lost")]
        again = run("runs", "recover", "--older-than", "10m", "--json")
        assert (again.exit_code, again.stdout) == (0, "[]\n")
        assert again.stderr == "orchestrator-state: no run is silent\n"

    def test_what_lives_is_left_alone(self, run: Run) -> None:
        assert run("runs", "recover", "--older-than", "1d", "-o", "ids").stdout == ""


class TestDeleting:
    @pytest.mark.parametrize("words", [["runs", "delete", "daily-1"], ["prune", "--keep-last", "0"]], ids=" ".join)
    def test_needs_yes_where_nobody_can_be_asked(self, run: Run, words: list[str]) -> None:
        result = run(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--yes" in result.stderr
        assert "daily-1" in run("runs", "ls", "-o", "ids").stdout

    def test_of_runs(self, run: Run) -> None:
        dry = run("runs", "delete", "daily-1", "daily-2", "--dry-run")
        assert dry.stdout == "run_id\tintel_items\ndaily-1\t4\ndaily-2\t4\n"
        result = run("runs", "delete", "daily-1", "daily-2", "daily-1", "--yes", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout) == [
            {"run_id": "daily-1", "intel_items": 4},
            {"run_id": "daily-2", "intel_items": 4},
        ]
        assert run("runs", "ls", "-o", "ids").stdout.split() == ["weekly-1", "daily-3"]

    def test_of_a_run_that_is_running_needs_force(self, run: Run) -> None:
        result = run("runs", "delete", "daily-1", "daily-3", "--yes")
        assert result.exit_code == 1
        assert "--force" in result.stderr
        assert "daily-1" in run("runs", "ls", "-o", "ids").stdout, "nothing was deleted"
        assert run("runs", "delete", "daily-3", "--yes", "--force").exit_code == 0

    def test_prune(self, run: Run) -> None:
        words = ("prune", "--older-than", "0s", "--keep-last", "1", "--status", "failed", "--status", "completed")
        dry = run(*words, "--dry-run", "--json")
        assert json.loads(dry.stdout) == {"runs": 2, "intel_items": 8, "telemetry": 2}
        assert len(run("runs", "ls", "-o", "ids").stdout.split()) == 4
        assert json.loads(run(*words, "--yes", "--json").stdout) == {"runs": 2, "intel_items": 8, "telemetry": 2}
        assert run("runs", "ls", "-o", "ids").stdout.split() == ["weekly-1", "daily-3"]

    def test_prune_says_which_runs_others_keep(self, run: Run, db: str) -> None:
        plain_sqlite(
            Path(db),
            "CREATE TABLE mine (run_id TEXT REFERENCES runs (run_id))",
            "INSERT INTO mine VALUES ('daily-1')",
        )
        result = run("prune", "--keep-last", "0", "--yes")
        assert result.exit_code == 1, "that is no wrong usage"
        assert "daily-1" in result.stderr
        assert run("runs", "ls", "-o", "ids").stdout.split() == ["daily-3", "daily-1"]


class TestFiles:
    def test_backup(self, run: Run, tmp_path: Path) -> None:
        dest = tmp_path / "copy.db"
        assert json.loads(run("backup", str(dest), "--json").stdout) == {
            "dest": str(dest),
            "bytes": dest.stat().st_size,
        }
        assert len(run("runs", "ls", "-o", "ids", db=str(dest)).stdout.split()) == 4
        again = run("backup", str(dest))
        assert again.exit_code == 1
        assert again.stderr.count("\n") == 1
        assert run("backup", str(dest), "--overwrite").exit_code == 0

    def test_salvage(self, run: Run, db: str, tmp_path: Path) -> None:
        sound = run("salvage", str(tmp_path / "sound.db"), "--json")
        assert sound.exit_code == 0
        assert json.loads(sound.stdout)["kept"] == {"runs": 4, "intel_items": 12, "telemetry": 3}
        plain_sqlite(Path(db), "UPDATE intel_items SET claims_json = '[' WHERE item_id = 'daily-1/item-1'")
        mended = run("salvage", str(tmp_path / "mended.db"))
        assert mended.exit_code == 1, "something was lost"
        assert mended.stderr == "orchestrator-state: 0 rows lost, 1 row mended; check what was kept\n"
        assert "daily-1/item-1" in mended.stdout

    def test_vacuum(self, run: Run) -> None:
        assert json.loads(run("vacuum", "--json").stdout)["bytes_freed"] >= 0
        assert run("vacuum", "--full").exit_code == 0

    def test_copy(self, run: Run, db: str, tmp_path: Path) -> None:
        dest = str(tmp_path / "copy.db")
        copied = json.loads(run("copy", dest, "--json").stdout)
        assert {name: copied[name] for name in ("runs", "intel_items", "telemetry")} == {
            "runs": 4,
            "intel_items": 12,
            "telemetry": 3,
        }
        assert run("runs", "ls", "-o", "ids", db=dest).stdout == run("runs", "ls", "-o", "ids").stdout
        refused = run("copy", db)
        assert refused.exit_code == 1, "a store is no copy of itself"
        assert refused.stderr.count("\n") == 1
        assert run("copy", "postgresql://me:secret@host/db").exit_code == 2

    def test_long_work_says_how_far_it_is(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(progress, "LINE_EVERY", 0.01)
        with progress.progress("backup", "pages") as tell:
            tell(300, 1200)
            said = ""
            while "so far" not in said:
                said += capsys.readouterr().err
        assert said.startswith("orchestrator-state: backup: 300 of 1,200 pages, 25%, ")


class TestSql:
    def test_values_of_all_kinds(self, run: Run) -> None:
        result = run("sql", "SELECT 1 AS a, 2.5 AS b, NULL AS c, x'00ff' AS d, 'tab\tnew\nline' AS e, 1 AS a", "--json")
        [row] = json.loads(result.stdout)
        assert list(row.values()) == [1, 2.5, None, "00ff", "tab\tnew\nline", 1]

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT 1 -- a comment",
            "SELECT 1;",
            "VALUES (1)",
            "WITH n(i) AS (SELECT 1) SELECT i FROM n",
            "PRAGMA user_version",
            "EXPLAIN SELECT 1",
            "/* first */ SELECT 1",
        ],
    )
    def test_statements_that_read(self, run: Run, statement: str) -> None:
        assert run("sql", statement).exit_code == 0

    def test_no_more_is_read_than_is_wanted(self, db: str) -> None:
        """Else this would not end."""
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        assert piped(db, "sql", endless, "--limit", "3").stdout == "i\n1\n2\n3\n"

    def test_what_is_wrong_is_said_in_the_words_of_the_engine(self, run: Run) -> None:
        assert "no such table: no_such" in run("sql", "SELECT * FROM no_such").stderr


def test_nothing_was_given_to_a_verb_by_mistake(run: Run) -> None:
    assert run("runs", "delete", "--yes").exit_code == 2


def test_salvage_is_for_files(run: Run, tmp_path: Path) -> None:
    done = run("salvage", str(tmp_path / "x.db"), db="postgresql:///state")
    assert done.exit_code == 2
    assert "salvage: a store in PostgreSQL does not have this" in done.stderr
