"""After a fork parent and child go on safely, or the child gets a typed error; no silence, no hang."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import TIMEOUT, Peer, assert_sound, in_process, item_ids
from tests.programs import fork_transactions, forks, hooks

FULL_FORKS = 200


def check(path: Path, acknowledged: set[str]) -> None:
    with StateStore(path) as store:
        names = item_ids(store)
        assert acknowledged - set(names) == set(), "an acknowledged write is gone"
        assert "never" not in names
        assert len(names) == len(set(names))
        assert_sound(store)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "not closed"])
@pytest.mark.parametrize("scene", [scene.__name__ for scene in forks.SCENES])
def test_nothing_acknowledged_is_lost_to_a_fork(
    tmp_path: Path, scene: str, close: bool, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    forks_ = rounds(1, -(-FULL_FORKS // (2 * len(forks.SCENES))))
    for round_ in range(forks_):
        path = tmp_path / f"{round_}.db"
        with Peer(forks.play, str(path), scene, close) as peer:
            acknowledged = set(peer.lines()) - {"null"}
            assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
        check(path, acknowledged)
    figure(f"{forks_} forks")


def test_end_of_the_interpreter_in_the_child_harms_nothing(path: Path) -> None:
    with Peer(forks.interpreter_ends_in_the_child, str(path)) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0
    assert len(acknowledged) == 35
    check(path, acknowledged)


def test_hooks_of_the_users_own_may_use_and_drop_stores(path: Path) -> None:
    with Peer(hooks.play, str(path)) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    check(path, acknowledged)


def test_a_transaction_that_has_spilled_is_no_obstacle(path: Path) -> None:
    """To roll it back in the child would clear the parent's index of the log, so the child must not try."""
    with Peer(fork_transactions.spilled_transaction, str(path)) as peer:
        *acknowledged, size = peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    assert int(size) > 1_000_000, "nothing was spilled"
    assert len(acknowledged) == 85
    check(path, set(acknowledged))


def test_fork_while_a_store_is_opened_leaves_the_child_none_of_its_files(tmp_path: Path) -> None:
    assert in_process(forks.forks_while_stores_are_opened, str(tmp_path), 60) == 0
