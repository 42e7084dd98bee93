"""What ends a program from outside, a closed terminal or a supervisor, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM
from tests.cli.test_interrupts import ENDLESS, READY
from tests.helpers import TIMEOUT

ENDS = [signal.SIGTERM, signal.SIGHUP]


def started(db: str, words: list[str], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ORCHESTRATOR_STATE_DB": db, **variables},
    )


@pytest.mark.parametrize("number", ENDS)
def test_the_file_that_opened_the_browser_is_removed(db: str, tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    with started(db, ["page"], TMPDIR=str(folder), BROWSER="true %s") as process:
        assert process.stdout
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        # A request is answered when the server runs; the file was made before that.
        while not list(folder.glob("*/page.html")):
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, said) == (128 + number, "")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", ENDS)
def test_a_report_that_is_not_whole_is_removed(db: str, tmp_path: Path, number: signal.Signals) -> None:
    program = "import orchestrator.state_store._report as r, time\n"
    program += "def write(*_, **__): print('ready', flush=True); time.sleep(600)\nr.write = write\n"
    folder = tmp_path / "reports"
    folder.mkdir()
    command = [sys.executable, "-c", program + PROGRAM, "-d", db, "report", "daily-1", "-o", str(folder / "r.html")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert len(list(folder.iterdir())) == 1
        process.send_signal(number)
        _, said = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, said) == (128 + number, "")
    assert list(folder.iterdir()) == []


def test_nohup_goes_on(db: str) -> None:
    program = f"{READY}import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {PROGRAM}"
    command = [sys.executable, "-c", program, "-d", db, "sql", ENDLESS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.terminate()
        _, said = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
