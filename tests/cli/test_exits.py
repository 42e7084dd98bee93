"""Exit statuses, and errors: one line, no traceback, no password; closed pipes; nothing is created by looking."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from orchestrator.state_store import __version__
from orchestrator.state_store._cli import EXTRA
from orchestrator.state_store._cli.errors import _REMEDIES, guarded
from orchestrator.state_store._cli.passwords import has_password
from orchestrator.state_store._cli.program import cli

from tests.cli.conftest import PROGRAM, acts, piped
from tests.helpers import ROOT, TIMEOUT, plain_sqlite

Run = Callable[..., Result]


def one_line(text: str) -> str:
    """Return the only line of what was said."""
    assert text.startswith("orchestrator-state: ")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text.removeprefix("orchestrator-state: ").rstrip("\n")


@pytest.mark.parametrize("name", ["runs", "items", *cli.commands])
def test_each_verb_has_help(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_without_a_verb_it_shows_help(run: Run) -> None:
    assert run().exit_code == run("runs").exit_code == 0
    assert "prune" in run().stdout
    assert "recover" in run("runs").stdout


def test_version(run: Run) -> None:
    assert f"{__version__}, SQLite 3." in run("--version").stdout


@pytest.mark.parametrize("name", ["no-such.db", "no-such-folder/state.db"])
@pytest.mark.parametrize(
    "words",
    [
        ["runs", "ls"],
        ["prune", "--keep-last", "3", "--yes"],
        ["items", "decide", "a", "b"],
        ["vacuum"],
        ["backup", "x"],
    ],
    ids=" ".join,
)
def test_a_missing_file_is_an_error_and_is_not_made(run: Run, tmp_path: Path, name: str, words: list[str]) -> None:
    result = run(*words, db=str(tmp_path / "folder" / name))
    assert result.exit_code == 1
    assert "No such file" in one_line(result.stderr)
    assert not (tmp_path / "folder").exists()


def test_no_store_is_wrong_usage(tmp_path: Path) -> None:
    done = piped("", "runs", "ls")
    assert done.returncode == 2
    assert "ORCHESTRATOR_STATE_DB" in one_line(done.stderr)


def test_an_empty_store_is_wrong_usage(run: Run, db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a shell variable that is not set: the verb would work on another store, that of the variable."""
    monkeypatch.setenv("ORCHESTRATOR_STATE_DB", db)
    done = run("prune", "--keep-last", "1", "--yes", db="")
    assert done.exit_code == 2
    assert "which store?" in one_line(done.stderr)


def test_looking_changes_nothing(run: Run, db: str) -> None:
    before = Path(db).read_bytes()
    words = (["runs", "ls"], ["items", "ls"], ["stats"], ["check"], ["runs", "show", "daily-1"], ["sql", "SELECT 1"])
    for each in (*words, ["prune", "--keep-last", "0", "--dry-run"], ["runs", "delete", "daily-1", "--dry-run"]):
        run(*each)
    assert Path(db).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "show", "no-such"],
        ["runs", "diff", "no-such"],
        ["runs", "diff", "daily-1", "no-such"],
        ["runs", "diff", "weekly-1"],
        ["runs", "tail", "no-such"],
        ["runs", "delete", "daily-1", "no-such", "--yes"],
        ["items", "ls", "--run", "no-such"],
        ["items", "show", "no-such"],
        ["items", "decide", "no-such", "block"],
        ["runs", "show", "no\x1b[31m\u202esuch" + "x" * 100_000],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_is_not_there_is_3(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (3, "")
    assert acts(result.stderr) == set()
    assert len(one_line(result.stderr)) <= 1000
    assert run("runs", "show", "daily-1").exit_code == 0, "nothing of it was deleted"


def test_what_is_wrong_with_the_file_is_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database\n" * 1000)
    assert run("stats", db=str(tmp_path / "text")).exit_code == 1
    assert run("stats", db=str(tmp_path)).exit_code == 1
    assert one_line(run("stats", db=str(tmp_path)).stderr).endswith("it is a folder")


def test_findings_are_1(run: Run, db: str) -> None:
    assert run("check", "--stale", "1d").exit_code == 0
    stale = run("check", "--json", "--stale", "10m")
    assert stale.exit_code == 1
    assert [each["kind"] for each in json.loads(stale.stdout)] == ["stale_run"]
    plain_sqlite(Path(db), "UPDATE intel_items SET claims_json = '[' WHERE item_id = 'daily-1/item-1'")
    found = run("check", "--stale", "1d")
    assert "daily-1/item-1" in found.stdout
    assert one_line(found.stderr) == "1 problem found"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgres://me:{SECRET}@/db",
        f"postgresql://me:p@{SECRET}@127.0.0.1:1/db",
        f"postgresql://me@127.0.0.1:1/db?password={SECRET}",
        f"postgresql://me@127.0.0.1:1/db?%70assword={SECRET}",
        f"postgresql://127.0.0.1:1/db?a=b&sslpassword={SECRET}",
        f"mysql://me:{SECRET}@host/db",
    ],
)
class TestPasswords:
    def test_are_not_taken_from_the_command_line(self, run: Run, url: str) -> None:
        result = run("stats", db=url)
        assert result.exit_code == 2
        assert SECRET not in result.output
        assert "~/.pgpass" in one_line(result.stderr)
        assert "service file" in result.stderr

    def test_behind_the_verb_neither(self, db: str, url: str) -> None:
        for words in (["stats", "--db", url], ["stats", f"-d{url}"], [url, "stats"], ["stats", url]):
            done = piped(db, *words)
            assert done.returncode == 2
            assert SECRET not in done.stdout + done.stderr

    def test_of_the_variable_are_not_shown(self, url: str) -> None:
        done = piped(url, "stats")
        assert done.returncode in (1, 2)
        assert SECRET not in done.stdout + done.stderr
        one_line(done.stderr)


@pytest.mark.parametrize(
    "location",
    ["state.db", "a:b@c/state.db", "sqlite:///a@b:c.db", "postgresql://me@[::1]:5432/db", "postgresql:///db"],
)
def test_what_has_no_password(location: str) -> None:
    assert not has_password(location)


def test_a_closed_pipe_is_no_error(hostile: str) -> None:
    for form in ("json", "csv", "table"):
        command = [sys.executable, "-c", PROGRAM, "items", "ls", "-o", form, "--limit", "0"]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "ORCHESTRATOR_STATE_DB": hostile},
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.read(100)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(TIMEOUT) == 0


def test_a_full_disk_is_one_line(db: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "runs", "ls"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ORCHESTRATOR_STATE_DB": db},
        )
    assert done.returncode == 1
    assert one_line(done.stderr) == "cannot print: No space left on device"


def test_without_the_extra_one_line_says_what_to_install(db: str) -> None:
    for missing, words in (("click", ["stats"]), ("rich", ["runs", "ls"])):
        program = f"import sys; sys.modules['{missing}'] = None; {PROGRAM}"
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            env={**os.environ, "ORCHESTRATOR_STATE_DB": db, "FORCE_COLOR": "1"},
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr) == "it needs the extra `cli`: pip install 'orchestrator-state-store[cli]'"


def test_the_module_runs_verbs_too(db: str) -> None:
    command = [sys.executable, "-m", "orchestrator.state_store", "runs", "ls", "-o", "ids", "--db", db]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["weekly-1", "daily-3", "daily-2", "daily-1"]
    report = subprocess.run(command[:3], capture_output=True, text=True, check=True).stdout
    assert report.startswith(f"orchestrator.state_store {__version__}\nSQLite ")


def test_what_nobody_thought_of_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("first\nsecond \x1b[31m")

    assert guarded(fail) == 1
    assert one_line(capsys.readouterr().err) == "ZeroDivisionError: first second \\x1b[31m"


def test_warnings_are_one_line(db: str, tmp_path: Path) -> None:
    os.link(db, tmp_path / "other.db")
    done = piped(db, "runs", "ls", "-o", "ids")
    assert done.returncode == 0
    assert one_line(done.stderr).startswith("warning: ")


def test_the_console_script_leads_to_the_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["orchestrator-state"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    extra = {re.split("[>=]", each)[0] for each in project["optional-dependencies"]["cli"]}
    assert extra <= set(EXTRA), "what is missing of it is said in one line"


def test_remedies_are_options_here(run: Run, db: str, tmp_path: Path) -> None:
    """Guards against advice for programs, `overwrite=True`, where an option is what helps."""
    (tmp_path / "there.db").touch()
    assert "give --overwrite to replace it" in one_line(run("backup", str(tmp_path / "there.db")).stderr)
    assert "give --cursor as it was printed" in one_line(run("runs", "ls", "--cursor", "x").stderr)


def test_the_remedies_are_those_of_the_messages() -> None:
    """Guards against messages of the core that were worded anew."""
    folder = ROOT / "src"
    text = "".join(file.read_text(encoding="utf-8") for file in folder.rglob("*.rs"))
    assert [advice for advice, _ in _REMEDIES if advice not in text] == []


def test_an_empty_decision_is_wrong_usage(run: Run) -> None:
    """Guards against a shell variable that is not set."""
    done = run("items", "decide", "daily-1/item-1", "")
    assert done.exit_code == 2
    assert "DECISION is empty" in one_line(done.stderr)


def test_what_names_the_store_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against "open none.db: No such file", which does not say where that came from, or how to name another."""
    missing = str(tmp_path / "none.db")
    assert f"--db: open {missing}: No such file" in one_line(run("runs", "ls", db=missing).stderr)
    monkeypatch.setenv("ORCHESTRATOR_STATE_DB", missing)
    assert f"ORCHESTRATOR_STATE_DB: open {missing}:" in one_line(CliRunner().invoke(cli, ["stats"]).stderr)
    for name in (missing, "state.db", "postgresql://host/db"):
        done = CliRunner().invoke(cli, [name, "runs", "ls"])
        assert done.exit_code == 2
        assert "a store is named by --db" in one_line(done.stderr)
