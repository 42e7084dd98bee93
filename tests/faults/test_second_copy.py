"""A second copy of SQLite, or a plain `open()`, in the process that has the store open.

Closing either used to drop the store's file locks, and the log that it was writing to was deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, in_process, item_ids, value
from tests.programs import second_copy

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard needs Linux's locks")

FULL_ROUNDS = 200
MOMENTS = [
    second_copy.idle,
    second_copy.one_store_closing,
    second_copy.in_transaction,
    second_copy.large_transaction,
]
CASES = [(when, how, stores) for when in MOMENTS for how in second_copy.LOOKS for stores in (1, 2)]


@pytest.mark.parametrize(("when", "how", "stores"), CASES)
def test_nothing_acknowledged_is_lost_to_a_second_copy(
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
    when: Callable[[str, str, int], None],
    how: str,
    stores: int,
) -> None:
    """Neither the log that is written to nor the locks that keep others out go with another's close."""
    repeat = rounds(1, -(-FULL_ROUNDS // len(CASES)))
    for attempt in range(repeat):
        path = tmp_path / f"{attempt}.db"
        with Peer(when, str(path), how, stores) as peer:
            acknowledged = list(peer.lines())
            assert peer.process.wait() == 0
        assert len(acknowledged) == 101
        with StateStore(path) as store:
            assert set(item_ids(store)) == set(acknowledged)
            assert_sound(store)
    figure(f"{repeat} times, nothing lost")


def test_a_second_copy_waits_for_a_transaction_like_another_process(tmp_path: Path) -> None:
    """Two copies of SQLite in one process do not write into the log at the same time."""
    path = tmp_path / "state.db"
    answers = in_process(second_copy.write_beside, str(path))
    assert answers == {"inside": "database is locked", "after": "written"}
    with StateStore(path) as store:
        assert item_ids(store) == ["ours-inside", "ours-after"]
        assert value(store, "SELECT notes FROM runs") == "after"
        assert_sound(store)


@pytest.mark.parametrize("how", second_copy.LOOKS)
@pytest.mark.parametrize("stores", [1, 2, 5])
def test_a_clean_close_leaves_nothing_beside_the_file(tmp_path: Path, how: str, stores: int) -> None:
    """The locks that withstand other closes are gone with the store's own."""
    assert in_process(second_copy.close_cleanly, str(tmp_path / "state.db"), how, stores) == ["state.db"]
