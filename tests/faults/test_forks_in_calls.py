"""A signal's handler may fork inside a call, and its child return into it: it is told, and nothing hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.test_fork import check
from tests.helpers import Peer
from tests.programs import forks_in_calls


@pytest.mark.parametrize("what", forks_in_calls.CALLS)
def test_a_child_that_returns_into_a_call_is_told(path: Path, what: str) -> None:
    """The threads that worked for the call, and those that it waited for, do not exist in the child."""
    with Peer(forks_in_calls.play, str(path), what) as peer:
        *acknowledged, _ = peer.lines()
        assert peer.process.wait() == 0, "it failed, or was killed because it hung"
    assert len([name for name in acknowledged if name.startswith("child")]) == 6
    check(path, set(acknowledged))
