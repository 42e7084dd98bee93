"""Random errors of writes and syncs, while opening and closing too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults.outcomes import Outcomes
from tests.helpers import TIMEOUT, Peer
from tests.programs import unlucky
from tests.programs.unlucky import DONE

WRITES = 3_000
"""Enough to have the log checkpointed in the background."""


def test_random_io_errors_lose_and_tear_nothing(
    tmp_path: Path,
    fault: Callable[[str], None],
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    failed = calls = 0
    seeds = rounds(2, 20)
    for seed in range(seeds):
        path = tmp_path / f"{seed}" / "state.db"
        fault(f"flaky {seed}")
        with Peer(unlucky.write_mixed, str(path), WRITES) as peer:
            told = Outcomes(peer.lines())
            assert peer.process.wait(TIMEOUT) == 0
        fault("")
        told.check(path)
        calls += len(told.calls)
        failed += sum(call.error != DONE for call in told.calls)
    figure(f"{seeds} seeds, {failed} of {calls} calls failed, 0 lost, 0 torn; at last {told}")
    assert failed > 0.02 * calls, "the errors were not met"
