"""The log is checkpointed while others write, and whatever happens meanwhile loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import Checkpointed, ReadOnlyError, StateStore, TransactionError

from tests.helpers import TIMEOUT, Peer, assert_sound, held_transaction, item_ids, make_item, put
from tests.programs import logs, retention


def check(path: Path, acknowledged: set[str]) -> None:
    with StateStore(path) as store:
        assert acknowledged - set(item_ids(store)) == set(), "an acknowledged write is gone"
        assert_sound(store)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_checkpointer_ends_by_itself_and_comes_again(path: Path) -> None:
    with Peer(logs.thread_ends_by_itself, str(path)) as peer:
        *acknowledged, ended = peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    assert ended == "true"
    check(path, set(acknowledged))


def test_forks_while_the_log_is_checkpointed_lose_nothing(path: Path) -> None:
    with Peer(logs.forks_while_checkpointing, str(path), 5) as peer:
        acknowledged = set(peer.lines())
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    check(path, acknowledged)


@pytest.mark.parametrize("how", ["closed", "kept", "dropped"])
def test_end_of_the_program_while_the_log_is_checkpointed(path: Path, how: str) -> None:
    with Peer(logs.leave_while_checkpointing, str(path), how) as peer:
        acknowledged = set(peer.lines()) - {"null"}
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    check(path, acknowledged)


def test_checkpoint_empties_the_log(store: StateStore) -> None:
    put(store, "a", "b")
    log = store.db_path.with_name("state.db-wal")
    before = log.stat().st_size
    assert before > 0
    assert store.checkpoint() == Checkpointed(wal_bytes_before=before, wal_bytes_after=0, complete=True)
    assert log.stat().st_size == 0
    assert item_ids(store) == ["a", "b"]
    assert store.checkpoint() == Checkpointed(0, 0, complete=True)


def test_checkpoint_does_what_a_reader_elsewhere_lets_it(run_path: Path) -> None:
    with StateStore(run_path, busy_timeout=0.2) as store, Peer(retention.hold_a_read, str(run_path)) as reader:
        assert reader.hear() == "ready"
        put(store, "a")
        done = store.checkpoint()
        assert not done.complete
        assert done.wal_bytes_after == done.wal_bytes_before > 0
        reader.tell()
        reader.result()
        assert store.checkpoint().complete


def test_checkpoint_waits_for_a_transaction_and_is_refused_in_ones_own(store: StateStore) -> None:
    with store.transaction(), pytest.raises(TransactionError, match="checkpoint"):
        store.checkpoint()
    with StateStore(store.db_path, busy_timeout=0.1) as other, held_transaction(other, make_item("a")):
        assert not other.checkpoint().complete
    with StateStore(store.db_path, read_only=True) as reader, pytest.raises(ReadOnlyError, match="checkpoint"):
        reader.checkpoint()
    with StateStore(":memory:") as memory:
        assert memory.checkpoint() == Checkpointed(0, 0, complete=True)
