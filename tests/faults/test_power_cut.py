"""A power cut: what was acknowledged is there, groups are whole, and the file is sound.

The controls show that the tool sees a loss where there is one: without a sync, no commit is safe from a cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import power_cut
from tests.helpers import Peer
from tests.programs import power

WRITES = 100
"""How often each thread writes in each of its lives: enough to have the log checkpointed, and started over."""

CUTS = 200
"""How many cuts of one recording. Each recording has its threads meet in another order."""


@dataclass
class Losses:
    """How many cuts there were, and what was wrong after some of them."""

    cuts: int = 0
    lost: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{len(self.lost)} of {self.cuts} cuts lost something, {len(self.unsound)} left an unsound file"


@pytest.fixture
def cut(tool: Callable[[str], str], tmp_path: Path, path_in_memory: Path) -> Callable[[str, int], Losses]:
    """Return what records programs, cuts their power this often, and has what is left looked at."""
    tool("strace")

    def look(left: power_cut.Remains, checker: Peer, losses: Losses) -> None:
        left.rebuild(path_in_memory.parent)
        checker.tell(json.dumps([str(path_in_memory), left.acknowledged]))
        answer = json.loads(checker.hear())
        losses.cuts += 1
        losses.lost += [f"{answer['lost']}"] if answer["lost"] else []
        losses.unsound += [f"{answer['wrong']}"] if answer["wrong"] else []

    def cut(synchronous: str, cuts: int) -> Losses:
        losses = Losses()
        while losses.cuts < cuts:
            folder = tmp_path / f"recorded-{losses.cuts}"
            folder.mkdir()
            recording = power_cut.record(power.write, folder / "state.db", synchronous, WRITES)
            assert recording.log_starts() > power.LIVES, "no log was checkpointed and used again"
            with Peer(power.look) as checker:
                for left in recording.cuts(min(CUTS, cuts - losses.cuts), seed=losses.cuts):
                    look(left, checker, losses)
        return losses

    return cut


def test_power_cut_loses_nothing_that_was_acknowledged(
    cut: Callable[[str, int], Losses], rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    losses = cut("FULL", rounds(100, 2000))
    figure(f"FULL: {losses}")
    assert losses.lost == []
    assert losses.unsound == []


def test_power_cut_without_a_sync_a_commit_loses_the_latest_but_leaves_a_sound_file(
    cut: Callable[[str, int], Losses], rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    losses = cut("NORMAL", rounds(50, 400))
    figure(f"NORMAL: {losses}")
    assert len(losses.lost) > losses.cuts / 4, "the tool does not see what NORMAL loses"
    assert losses.unsound == []


def test_power_cut_without_any_sync_is_seen_to_lose(
    cut: Callable[[str, int], Losses],
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
    fault: Callable[[str], None],
) -> None:
    fault("no sync")
    losses = cut("FULL", rounds(50, 400))
    figure(f"OFF: {losses}")
    assert len(losses.lost) > losses.cuts / 4, "the tool does not see what is lost without syncs"
    assert len(losses.unsound) > losses.cuts / 8, "the tool does not see a file that is not sound"
