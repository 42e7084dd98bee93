"""After a fork parent and child both go on safely, or the child gets a typed error; never silence, never a hang."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import TIMEOUT, Peer, assert_sound, item_ids
from tests.programs import forks


def check(path: Path, acknowledged: set[str]) -> None:
    with StateStore(path) as store:
        names = item_ids(store)
        assert acknowledged - set(names) == set(), "an acknowledged write is gone"
        assert "never" not in names
        assert len(names) == len(set(names))
        assert_sound(store)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "not closed"])
@pytest.mark.parametrize("scene", [scene.__name__ for scene in forks.SCENES])
def test_nothing_acknowledged_is_lost(tmp_path: Path, scene: str, close: bool) -> None:
    for round_ in range(3):
        path = tmp_path / f"{round_}.db"
        with Peer(forks.play, str(path), scene, close) as peer:
            acknowledged = set(peer.lines()) - {"null"}
            assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
        check(path, acknowledged)


def test_end_of_the_interpreter_in_the_child_harms_nothing(path: Path) -> None:
    with Peer(forks.interpreter_ends_in_the_child, str(path)) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0
    assert len(acknowledged) == 35
    check(path, acknowledged)
