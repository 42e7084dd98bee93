"""SIGKILL at any time."""

from __future__ import annotations

import collections
import random
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, value
from tests.programs import writers

LIVES_OF_A_FILE = 50
LONGEST_RECOVERY = 0.01
"""Seconds within which a file is open again: the kill comes at any time of that."""


def check(path: Path, acknowledged: set[str]) -> None:
    """Check that what was acknowledged is there, and that nothing is torn."""
    with StateStore(path) as store:
        assert_sound(store)
        rows = store.connection.execute("SELECT item_id, run_id, claims_json FROM intel_items").fetchall()
        items = {row["item_id"] for row in rows}
        groups = collections.Counter(row["claims_json"].strip('"') for row in rows if row["claims_json"] != "null")
        assert set(groups.values()) <= {4}, "a torn batch or block"

        runs = {row["run_id"]: row["status"] for row in store.connection.execute("SELECT run_id, status FROM runs")}
        blocks = {run_id for run_id in runs if "-block-" in run_id}
        assert blocks == {name for name in groups if "-block-" in name}, "a torn block"
        assert {runs[name] for name in blocks} <= {"completed"}, "a torn block"
        assert value(store, "SELECT count(*) FROM telemetry") == len(blocks), "a torn block"

        there = {f"run {name}" for name in runs} | {f"item {name}" for name in items}
        there |= {f"group {name}" for name in groups} | {f"block {name}" for name in blocks}
        assert acknowledged - there == set(), "an acknowledged write is gone"


def test_kills_at_any_time_lose_and_tear_nothing(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Neither kills while much is written, nor kills of those who open the file after that."""
    random_ = random.Random(25)
    acknowledged: set[str] = set()
    kills = rounds(20, 500)
    for life in range(kills):
        path = tmp_path / f"{life // LIVES_OF_A_FILE}.db"
        if life % LIVES_OF_A_FILE == 0:
            acknowledged.clear()
        with Peer(writers.write_until_killed, str(path), life) as peer:
            for _ in range(random_.randrange(1, 150)):
                acknowledged.add(peer.hear())
            peer.kill()
            acknowledged.update(peer.lines())
        if life % 2:
            with Peer(writers.recover, str(path)) as peer:
                assert peer.hear() == "opening"
                time.sleep(random_.uniform(0, LONGEST_RECOVERY))
                peer.kill()
        check(path, acknowledged)
    kinds = {line.split()[0] for line in acknowledged}
    assert kinds == {"run", "item", "group", "block"}
    figure(f"{kills} kills, {kills // 2} more during recovery, nothing lost")
