from __future__ import annotations

import collections
import random
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.helpers import Peer, assert_sound, value
from tests.programs import writers

KILLS = 25


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


def test_kill_in_the_middle_of_writing_loses_and_tears_nothing(path: Path) -> None:
    random_ = random.Random(25)
    acknowledged: set[str] = set()
    for life in range(KILLS):
        with Peer(writers.write_until_killed, str(path), life) as peer:
            for _ in range(random_.randrange(1, 150)):
                acknowledged.add(peer.hear())
            peer.kill()
            acknowledged.update(peer.lines())
        check(path, acknowledged)
    kinds = {line.split()[0] for line in acknowledged}
    assert kinds == {"run", "item", "group", "block"}
