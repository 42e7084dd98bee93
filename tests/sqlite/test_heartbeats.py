# ruff: noqa: PT012 - what a block does before it fails is the point
"""The thread that gives signs of life: when it is there, and what it gets over."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import StateStore, StoreClosedError

from tests.conformance.test_heartbeats import run, until
from tests.helpers import Peer, in_process, leaving_nothing
from tests.programs import lives


@leaving_nothing()
def test_thread_is_there_for_as_long_as_a_run_is_active(path: Path) -> None:
    with StateStore(path) as store:
        assert not lives.is_beating()
        with store.run("run-1", "daily", {}):
            until(lives.is_beating)
            with store.run("run-2", "daily", {}):
                pass
            assert lives.is_beating()
        until(lambda: not lives.is_beating())
        with store.run("run-3", "daily", {}) as active:
            until(lives.is_beating)
            active.finish("partial")
            until(lambda: not lives.is_beating())
    with pytest.raises(StoreClosedError), StateStore(path) as store, store.run("run-4", "daily", {}):
        until(lives.is_beating)
        store.close()
        until(lambda: not lives.is_beating())


def test_thread_beats_while_no_other_thread_gets_the_interpreter(path: Path) -> None:
    with Peer(lives.hold_the_interpreter, str(path)) as peer:
        peer.hear()
        with StateStore(path) as store:
            for _ in range(2):
                before = run(store).heartbeat_at
                until(lambda before=before: run(store).heartbeat_at != before)  # type: ignore[misc]
            peer.tell()
            assert peer.result() > 1.5, "other threads ran meanwhile"


def test_thread_gets_over_a_file_that_is_locked(path: Path) -> None:
    """Until the other program lets go nothing can be written; then the beat is."""
    with StateStore(path) as store, store.run("run-1", "daily", {}):
        with Peer(lives.hold_the_lock, str(path), 3.0, "of another program") as peer:
            peer.hear()
            peer.tell()
            peer.result()
        until(lambda: run(store).heartbeat_at is not None)


def test_threads_end_with_the_store(path: Path) -> None:
    assert in_process(lives.close_again_and_again, str(path), 30) == 0
