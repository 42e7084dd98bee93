"""The log is folded into the file while others write, and whatever happens meanwhile loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import TIMEOUT, Peer, assert_sound, item_ids
from tests.programs import logs


def check(path: Path, acknowledged: set[str]) -> None:
    with StateStore(path) as store:
        assert acknowledged - set(item_ids(store)) == set(), "an acknowledged write is gone"
        assert_sound(store)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_thread_that_folds_ends_by_itself_and_comes_again(path: Path) -> None:
    with Peer(logs.thread_ends_by_itself, str(path)) as peer:
        *acknowledged, ended = peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    assert ended == "true"
    check(path, set(acknowledged))


def test_forks_while_the_log_is_folded_lose_nothing(path: Path) -> None:
    with Peer(logs.forks_while_folding, str(path), 5) as peer:
        acknowledged = set(peer.lines())
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    check(path, acknowledged)


@pytest.mark.parametrize("how", ["closed", "kept", "dropped"])
def test_end_of_the_program_while_the_log_is_folded(path: Path, how: str) -> None:
    with Peer(logs.leave_while_folding, str(path), how) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    check(path, acknowledged)
