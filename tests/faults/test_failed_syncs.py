"""A sync or write that fails: what is not written, what is unknown, and who is told.

A commit whose sync failed may turn out to be there after a crash, so it must not be called undone, nor done.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.outcomes import UNKNOWN, Outcomes
from tests.helpers import ROOT, TIMEOUT, Peer
from tests.programs import unlucky
from tests.programs.unlucky import DONE
from tests.tracing import under_strace

SYNCS = 60
ROUNDS = 10
CALLERS = 8


def run_with_failing_sync(path: Path, number: int) -> Outcomes:
    """Have one sync of a program fail, and the program killed when it has done its writes."""
    fault = ("-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={number}", "-o", "/dev/null")
    command = under_strace(unlucky.write_and_be_killed, path, ROUNDS, options=fault)
    ended = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT)
    assert ended.returncode == -signal.SIGKILL
    return Outcomes(ended.stdout.splitlines())


def test_commit_whose_sync_fails_is_called_unknown_and_tears_nothing(
    tmp_path: Path, tool: Callable[[str], str], rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    tool("strace")
    numbers = range(1, SYNCS + 1, rounds(5, 1))
    unknown: set[str] = set()
    for number in numbers:
        path = tmp_path / f"{number}" / "state.db"
        told = run_with_failing_sync(path, number)
        told.check(path)
        unknown |= {call.kind for call in told.calls if call.error == UNKNOWN}
    figure(f"{len(numbers)} failed syncs, 0 lost, 0 torn; of unknown outcome were {', '.join(sorted(unknown))}")
    assert unknown >= set(unlucky.FULL_ROUND)


def wait_until_all_sleep(pid: int) -> None:
    """Wait until all threads of a process have nothing more to do."""
    states = {"R"}
    while states != {"S"}:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        states = {(task / "stat").read_text().rpartition(") ")[2][0] for task in tasks}


@pytest.mark.parametrize(("trouble", "error"), [("sync once", UNKNOWN), ("full", "DiskFullError")])
def test_every_caller_of_a_commit_that_fails_is_told(
    path: Path, fault: Callable[[str], None], figure: Callable[[str], None], trouble: str, error: str
) -> None:
    with Peer(unlucky.write_as_a_group, str(path), CALLERS) as peer:
        lines = [peer.hear()]
        while lines[-1] != "opened":
            lines.append(peer.hear())
        peer.tell()
        assert peer.hear() == "waiting"
        wait_until_all_sleep(peer.process.pid)
        fault(trouble)
        peer.tell()
        while lines[-1] != "told":
            lines.append(peer.hear())
        fault("")
        peer.tell()
        lines += peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    told = Outcomes(lines)
    told.check(path)
    assert {"item before", "item after"} <= told.writes(DONE)
    assert len(told.writes(DONE, error)) == CALLERS + 2, "somebody was told nothing"
    assert len(told.writes(error)) > 1, "no callers shared the commit that failed"
    figure(f"{trouble}: {told}")
