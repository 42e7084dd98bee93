"""Shells complete verbs, options and run ids; what is stored cannot become a command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.cli.conftest import HOSTILE, HOSTILE_IDS, piped


def completed(db: str, *words: str) -> list[str]:
    """Return what bash is offered for the last of these words."""
    line = " ".join(["orchestrator-state", *words])
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_ORCHESTRATOR_STATE_COMPLETE": "bash_complete"}
    done = piped(db, **variables)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how(db: str, shell: str) -> None:
    done = piped(db, "completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_ORCHESTRATOR_STATE_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)


def test_verbs_options_and_run_ids(db: str) -> None:
    assert completed(db, "ru") == ["runs"]
    assert completed(db, "runs", "d") == ["diff", "delete"]
    assert "--keep-last" in completed(db, "prune", "--")
    assert completed(db, "runs", "show", "daily-") == ["daily-3", "daily-2", "daily-1"]
    assert completed(db, "runs", "diff", "daily-1", "w") == ["weekly-1"]
    assert completed("", "--db", db, "runs", "show", "w") == ["weekly-1"]
    assert completed("", "runs", "show", "--db", db, "w") == ["weekly-1"]


def test_without_a_store_there_are_none(tmp_path: Path) -> None:
    assert completed(str(tmp_path / "no-such.db"), "runs", "show", "d") == []
    assert completed("", "runs", "show", "d") == []


def test_ids_that_a_shell_would_run_are_not_offered(hostile: str, tmp_path: Path) -> None:
    offered = completed(hostile, "runs", "show", "")
    assert set(offered) <= {*HOSTILE_IDS, HOSTILE}
    assert [each for each in offered if set(each) & set("$(`;&|<>#?*'\" \n\x1b\u202e") or each.startswith("-")] == []
    with StateStore(tmp_path / "odd.db") as store:
        store.start_run("$(touch pwned)", "daily", {})
    assert completed(str(tmp_path / "odd.db"), "runs", "show", "") == []
