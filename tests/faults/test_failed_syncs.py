"""What the system may refuse: a sync that fails, and a file system on which nothing can be relied on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import TIMEOUT, Peer, assert_sound, in_process, item_ids
from tests.programs import disks


def test_commit_whose_sync_fails_says_so_and_tears_nothing(path: Path, fault: Callable[[str], None]) -> None:
    """Such a commit may turn out to be there after a crash, so it must not be called undone, nor done."""
    names = ("upsert", "batch", "start_run", "finish_run", "transaction")
    with Peer(disks.fail_to_sync_and_die, str(path)) as peer:
        assert peer.hear() == "opened"
        for name in names:
            assert peer.hear() == name
            fault("sync")
            peer.tell()
            assert peer.hear() == "tried"
            fault("")
            peer.tell()
        errors = [line.split("\t") for line in peer.lines()]
        assert peer.process.wait(TIMEOUT) == 0
    assert [(name, kind) for name, kind, _ in errors] == [(name, "CommitOutcomeUnknownError") for name in names]
    for name, _, message in errors:
        assert re.search(r"\b(safe|repeat|again|retry|look|check)", message), f"{name}: what now? {message}"
    assert len({message for _, _, message in errors}) > 1, "an upsert may be repeated, a start_run may not"

    with StateStore(path) as store:
        there = set(item_ids(store))
        assert {"before", *(f"after {name}" for name in names)} <= there
        for group in ("batch", "transaction"):
            assert sum(name.startswith(f"{group}-") for name in there) in (0, 5)
        assert_sound(store)


@pytest.mark.parametrize("network", [True, False])
def test_network_file_system_is_warned_of_by_name(path: Path, fault: Callable[[str], None], network: bool) -> None:
    fault("statfs 6969" if network else "")
    warnings = in_process(disks.open_and_count_warnings, str(path))
    if network:
        [[kind, message]] = warnings
        assert kind == "NetworkFileSystemWarning"
        assert str(path) in message
        assert re.search("nfs", message, re.IGNORECASE)
    else:
        assert warnings == []
