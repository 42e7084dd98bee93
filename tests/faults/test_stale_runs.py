"""Runs of killed processes are finished once; runs that are alive never, whoever keeps them from saying so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, plain_sqlite
from tests.programs import lives

RECOVERERS = 8


def test_run_of_a_killed_process_is_recovered_once(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    kills = rounds(5, 200)
    with contextlib.ExitStack() as stack:
        recoverers = [stack.enter_context(Peer(lives.recover, str(path), 60)) for _ in range(RECOVERERS)]
        for recoverer in recoverers:
            recoverer.hear()
        for kill in range(kills):
            with Peer(lives.live, str(path), f"run-{kill}") as peer:
                peer.hear()
                peer.kill()
            then = "2020-01-01T00:00:00+00:00"
            plain_sqlite(
                path,
                ("UPDATE runs SET started_at = ?, heartbeat_at = NULL", [then]),
                ("UPDATE intel_items SET created_at = ?", [then]),
            )
            for recoverer in recoverers:
                recoverer.tell()
            won = [recoverer.hear() for recoverer in recoverers]
            assert sorted(won) == sorted([f"run-{kill}", *["none"] * (RECOVERERS - 1)])
        for recoverer in recoverers:
            recoverer.tell("end")
            recoverer.result()
    with StateStore(path) as store:
        ends = {(run.status, run.notes) for run in store.list_runs()}
    assert ends == {("crashed", f"no sign of life since {then}")}
    figure(f"{kills} runs, each recovered once by {RECOVERERS} at a time")


@pytest.mark.parametrize("how", ["committed", "rolled back", "killed", "of another program"])
def test_run_that_is_alive_is_never_recovered(
    path: Path, how: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Neither the one whose transaction it is, nor one beside it that waits for the lock."""
    older_than, held = rounds(5, 10), rounds(7, 60)
    with (
        Peer(lives.live, str(path), "beside") as beside,
        Peer(lives.hold_the_lock, str(path), held, how) as holder,
        Peer(lives.recover_until_told, str(path), older_than) as recoverer,
        Peer(lives.recover_until_told, str(path), older_than) as another,
    ):
        for peer in (beside, holder, recoverer, another):
            peer.hear()
        holder.tell()
        left = list(holder.lines())
        assert left == ([] if how == "killed" else ["null"])
        beside.tell()
        beside.result()
        recovered = []
        for peer in (recoverer, another):
            peer.tell()
            recovered += peer.result()
    with StateStore(path) as store:
        ends = {run.run_id: run.status for run in store.list_runs()}
    assert ends.pop("beside") == "completed"
    if how == "killed":
        assert set(recovered) <= {"run-1"}
    else:
        assert recovered == []
        assert set(ends.values()) <= {"completed"}
    figure(f"a lock held for {held} s ({how}), recoverers of {older_than} s, none taken for dead")
