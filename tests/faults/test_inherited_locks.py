"""A child that closes what it inherited must not unlock what its parent has locked."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, item_ids
from tests.programs import inherited_locks


@pytest.mark.parametrize("inside", [False, True], ids=["idle", "in a transaction"])
def test_the_parent_keeps_its_locks(tmp_path: Path, inside: bool) -> None:
    """Parent and child share the descriptors that hold the locks: the child may close, but not unlock them."""
    path = tmp_path / "state.db"
    with Peer(inherited_locks.go_on, str(path), inside) as peer:
        assert list(peer.lines()) == ["before", "after"]
        assert peer.process.wait() == 0
    with StateStore(path) as store:
        assert item_ids(store) == ["before", "after"]
        assert_sound(store)
