"""No thread can be started, or no file be opened: calls do their work all the same, or fail by a typed error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, in_process
from tests.programs import shortages


def test_without_threads_the_calling_thread_does_the_work(fault: Callable[[str], None], path: Path) -> None:
    """A container's limit of processes is reached: the lists failed by a bare BlockingIOError once."""
    fault("")
    with Peer(shortages.without_threads, str(path)) as peer:
        assert peer.hear() == "ready"
        fault("no threads")
        peer.tell()
        assert peer.hear() == "done"
        fault("")
        peer.tell()
        failed = peer.result()
    for outcome in failed.values():
        assert {call: error for call, error in outcome.items() if error} == {"wrong": "MissingFieldError"}


def test_without_threads_the_log_stays_bounded(fault: Callable[[str], None], path: Path) -> None:
    """There is no checkpointer: it is the writers who checkpoint."""
    fault("no threads")
    sizes = in_process(shortages.log_without_threads, str(path))
    assert max(sizes) < 80 << 20, sizes


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4, 6])
def test_without_descriptors_errors_are_the_stores(path: Path, spare: int) -> None:
    """Modules were once imported by the call that first needed them, the one with the class of its error included."""
    failed = in_process(shortages.without_descriptors, str(path), spare)
    assert set(failed["without"].values()) <= {"", "CannotOpenError", "MissingFieldError"}
    assert failed["without"]["upsert"] == failed["without"]["batch"] == ""
    assert {call: error for call, error in failed["after"].items() if error} == {"wrong": "MissingFieldError"}
    with StateStore(path) as store:
        kept = {
            name for name in ("without", "after") if store.get_intel_item(name) and store.get_intel_item(f"{name}-999")
        }
        assert kept == {"without", "after"}
        assert_sound(store)
