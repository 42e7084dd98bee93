"""Runs of killed processes are finished once; runs that are alive never, whoever keeps them from saying so.

And a worker whose run was recovered all the same, in the middle of its writes, changes nothing any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, item_ids
from tests.programs import lives

RECOVERERS = 8
LIFE = 40
"""Rounds after which processes are started anew: none may live for long here."""
THEN = "2020-01-01T00:00:00+00:00"


def kill_and_recover(path: Path, names: list[str]) -> None:
    """Kill the process of a run, have all recoverers race for it, and so for each name."""
    with contextlib.ExitStack() as stack:
        recoverers = [stack.enter_context(Peer(lives.recover, str(path), 60)) for _ in range(RECOVERERS)]
        clock = stack.enter_context(Peer(lives.backdate, str(path), THEN))
        for peer in (*recoverers, clock):
            peer.hear()
        for name in names:
            with Peer(lives.live, str(path), name) as peer:
                peer.hear()
                peer.kill()
            clock.tell()
            clock.hear()
            for recoverer in recoverers:
                recoverer.tell()
            won = [recoverer.hear() for recoverer in recoverers]
            assert sorted(won) == sorted([name, *["none"] * (RECOVERERS - 1)])
        for peer in (*recoverers, clock):
            peer.tell("end")
            peer.result()


def test_run_of_a_killed_process_is_recovered_once(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    kills = rounds(5, 200)
    for first in range(0, kills, LIFE):
        kill_and_recover(path, [f"run-{number}" for number in range(first, min(first + LIFE, kills))])
    with StateStore(path) as store:
        runs = store.list_runs()
    assert len(runs) == kills
    assert {(run.status, run.notes) for run in runs} == {("crashed", f"no sign of life since {THEN}")}
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


def test_worker_that_is_recovered_while_it_writes(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Each of its writes is before the recovery, and kept, or refused; none comes after what the next try writes."""
    times, taken = rounds(8, 120), 0
    with StateStore(path, synchronous="NORMAL") as store:
        for first in range(0, times, LIFE):
            with Peer(lives.toil, str(path)) as worker:
                worker.hear()
                for number in range(first, min(first + LIFE, times)):
                    taken += take_over(store, worker, number)
                worker.tell("end")
                worker.result()
    figure(f"{times} runs recovered while they wrote, {taken:,} writes kept, 0 after the recovery")


def take_over(store: StateStore, worker: Peer, number: int) -> int:
    """Recover the run of a worker that writes, and do its work; return how many of its writes were taken."""
    dead, retry = f"run-{number}", f"run-{number}, again"
    worker.tell(dead)
    worker.hear()
    assert [run.run_id for run in store.recover_stale_runs(0)] == [dead]
    at_recovery, telemetry = item_ids(store, dead), store.get_telemetry(dead)
    store.start_run(retry, "daily", {})
    job = {"item_id": "job", "run_id": retry, "item_type": "note", "title": retry, "summary": "s"}
    store.upsert_intel_item({**job, "decision": "promote"})
    taken = int(worker.hear())
    store.finish_run(retry, "completed")
    assert (item_ids(store, dead), store.get_telemetry(dead)) == (at_recovery, telemetry)
    # The job itself is an item of the run that recorded it first.
    assert [item_id for item_id in at_recovery if item_id != "job"] == [f"{dead}/{each}" for each in range(taken)]
    found = store.get_intel_item("job")
    assert found is not None
    assert (found["title"], found["summary"], found["decision"]) == (retry, "s", "promote")
    return taken
