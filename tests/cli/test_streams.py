"""The command where stdin, stdout or stderr is closed, as under some supervisors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.cli.conftest import PROGRAM
from tests.helpers import TIMEOUT


def closed(db: str, stream: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run the command with a stream closed by the shell, as `<&-` has it."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}', "sh", sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**os.environ, "ORCHESTRATOR_STATE_DB": db},
    )


def test_what_is_said_is_not_printed_among_the_output(db: str) -> None:
    done = closed(db, "2>&-", ["runs", "ls", "--json", "--limit", "1"])
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize("words", [["check"], ["backup", "copy.db"], ["stats"], ["sql", "SELECT 1"]], ids=" ".join)
@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_work_is_done_with_a_stream_closed(
    db: str, stream: str, words: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    done = closed(db, stream, words)
    assert done.returncode == (1 if words == ["check"] else 0)  # A run is silent.
    assert "Error" not in done.stdout + done.stderr


@pytest.mark.parametrize("words", [["prune", "--keep-last", "0"], ["runs", "delete", "daily-1"]], ids=" ".join)
def test_nobody_can_be_asked_without_stdin(db: str, words: list[str]) -> None:
    done = closed(db, "<&-", words)
    assert done.returncode == 2
    assert "give --yes" in done.stderr
