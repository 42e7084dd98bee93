"""Faults that come together, on processes that do everything at once: see `tests/faults/chaos.py`.

Each is harmless by itself, by the tests beside this one. What one leaves behind may be what another stumbles over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.faults import chaos
from tests.programs.chaos import Player


def test_nothing_is_lost_torn_or_late_in_chaos(
    tmp_path: Path,
    tool: Callable[[str], str],
    request: pytest.FixtureRequest,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    tool("cc")
    seed = rounds(1, random.randrange(2**32))
    figures, wrong = chaos.run(tmp_path, request.getfixturevalue("preload"), rounds(20, 120), seed)
    assert not wrong, f"seed {seed}; to see it again: python -m tests.faults.chaos --minutes 2 --seed {seed}"
    figure(figures)


def test_a_run_that_could_not_be_finished_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with StateStore(tmp_path / "state.db") as store:
        player = Player(store, "", "0-0", "", 0)
        monkeypatch.setattr(player.random, "choice", lambda _: "failed")
        monkeypatch.setattr(store, "merge_telemetry", lambda run_id, _: store.delete_run(run_id, force=True))
        player.run()
    assert "RunNotFoundError\trun\tj:0-0:1\t" in capfd.readouterr().out
