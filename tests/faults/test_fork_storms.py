"""Forks inside transactions whatever disturbs them, and beside calls that take long.

A child that was late, or of which its parent did not learn that it was done, used to clear the index of what its parent
had written since; forks waited for the end of long calls, and starved them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.faults.test_fork import check
from tests.helpers import ROOT, TIMEOUT, Peer, in_process, make_item
from tests.programs import fork_storms, movers
from tests.tracing import under_strace

STORMS = 20
"""Of 10 forks each."""


@pytest.mark.parametrize(
    "disturbance",
    [
        "nothing",
        "signals",
        "no descriptor",
        "a late hook",
        "a late hook that was there before",
        "a hook that waits for the parent",
    ],
)
def test_nothing_disturbs_a_fork_inside_a_transaction(
    tmp_path: Path, disturbance: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    storms, acknowledged = rounds(1, STORMS), 0
    for storm in range(storms):
        path = tmp_path / f"{storm}.db"
        with Peer(fork_storms.storm, str(path), disturbance) as peer:
            *lines, _ = peer.lines()
            assert peer.process.wait() == 0, "it failed, or was killed because it hung"
        assert len(lines) == fork_storms.ROUNDS * 202
        acknowledged += len(lines)
        check(path, set(lines))
    figure(f"{storms * fork_storms.ROUNDS} forks with {disturbance}: 0 of {acknowledged} lost")


@pytest.mark.parametrize("what", ["batch", "list", "count", "query", "check", "vacuum", "backup"])
def test_forks_and_long_calls_pass_each_other(
    path: Path, what: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    forks, items = rounds(10, 50), rounds(20_000, 300_000 if what == "batch" else 60_000)
    with Peer(fork_storms.beside, str(path), what, items, forks) as peer:
        *lines, result = peer.lines()
        assert peer.process.wait() == 0, "it failed, or was killed because it hung"
    waited, calls, longest = (float(each) for each in result.strip("[]").split(","))
    assert set(lines) == {"parent", *(f"child-{index}" for index in range(forks))}
    check(path, set(lines))
    assert calls > 0
    assert waited <= forks / 2, "forks wait for the end of calls"
    figure(f"{forks} children of forks beside {what} write, the longest fork took {longest:.2f} s")


def test_forks_do_not_wait_while_a_new_folder_is_synced_into_its_own(path: Path, tool: Callable[[str], str]) -> None:
    """A busy disk takes its time, and the fork would keep the interpreter to itself meanwhile."""
    tool("strace")
    log = path.with_suffix(".strace")
    slow = ("-o", os.fspath(log), "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=3000000:when=1")
    command = under_strace(movers.open_while_forking, path.parent / "new" / path.name, options=slow)
    program = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT)
    assert json.loads(program.stdout) == ["done", "in time"]
    assert "DELAYED" in log.read_text(), "nothing was slow"


@pytest.mark.parametrize(("what", "told"), [("short", {0}), ("query", {0, 3}), ("batch", {0, 3})])
def test_a_child_has_a_whole_copy_of_a_store_in_memory_or_is_told(what: str, told: set[int]) -> None:
    """A fork waits for its calls, but not for ever: who makes a batch waits for the interpreter that the fork holds."""
    codes = in_process(fork_storms.in_memory, what)
    assert set(codes) <= told
    assert what != "query" or 3 in codes, "no fork was inside the query"


def test_the_first_calls_of_another_thread_leave_the_child_nothing_locked(
    tmp_path: Path, rounds: Callable[[int, int], int]
) -> None:
    """A thread that makes what is made once may be waiting for the interpreter, which the fork keeps to itself."""
    for round_ in range(rounds(10, 100)):
        path = tmp_path / f"{round_}.db"
        with Peer(fork_storms.first_use, str(path)) as peer:
            acknowledged = set(peer.lines()) - {"null"}
            assert peer.process.wait() == 0, "it failed, or was killed because it hung"
        assert len(acknowledged) == 11
        check(path, acknowledged)


def test_a_fork_behind_pythons_back_is_no_different(path: Path) -> None:
    with Peer(fork_storms.behind_python, str(path)) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait() == 0, "it failed, or was killed because it hung"
    assert len([name for name in acknowledged if name.startswith("child")]) == 90
    check(path, acknowledged)


@pytest.mark.parametrize("large", [False, True], ids=["small", "spilled"])
def test_a_child_keeps_no_lock_of_a_parent_that_was_killed(path: Path, large: bool) -> None:
    """A descriptor that the child inherits keeps the lock, whoever took it."""
    with Peer(fork_storms.killed_parent, str(path), large) as peer:
        child = int(peer.hear())
        peer.process.kill()
        peer.process.wait()
        try:
            with StateStore(path, busy_timeout=2) as store:
                store.upsert_intel_item(make_item("after"))
        finally:
            os.kill(child, signal.SIGKILL)
    check(path, {"before", "after"})
