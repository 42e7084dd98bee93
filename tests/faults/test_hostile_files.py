"""Row 29: damaged files give typed errors, never a signal or a hang; a damaged log loses no more than it must."""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Callable
from pathlib import Path

from tests.helpers import Peer, in_process
from tests.programs import damaged_logs, hostile

OPENING = {"", "NotADatabaseError", "CorruptDatabaseError", "ForeignDatabaseError", "SchemaTooNewError"}
CALLS = {"CorruptDatabaseError", "InvalidJSONError", "RunNotFoundError", "RunExistsError", "ReadOnlyError"}
FILES_A_PROCESS = 500


def test_damaged_files_are_typed_errors_and_never_a_signal(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    good = str(tmp_path / "good.db")
    in_process(hostile.write_good, good)
    opening: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for seed in range(rounds(1, 30)):
        outcome = in_process(hostile.use_damaged, good, str(tmp_path), seed, FILES_A_PROCESS)
        opening.update(outcome["opening"])
        calls.update(outcome["calls"])
    assert set(opening) <= OPENING
    assert {"", "NotADatabaseError", "CorruptDatabaseError"} <= set(opening)
    assert set(calls) <= CALLS
    assert calls["CorruptDatabaseError"]
    figure(f"{opening.total()} damaged files, {opening.total() - opening['']} of them refused, 0 untyped errors")


def test_damaged_log_loses_no_commit_that_ends_before_the_damage(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Nor does it bring back a part of one."""
    good = str(tmp_path / "good.db")
    with Peer(damaged_logs.write_and_wait, good) as peer:
        ends: list[int] = json.loads(peer.hear())
    assert all(before < after for before, after in itertools.pairwise(ends)), "each commit is in the log"
    outcomes: collections.Counter[str] = collections.Counter()
    for seed in range(rounds(1, 12)):
        outcomes.update(in_process(damaged_logs.open_damaged, good, ends, str(tmp_path), seed, FILES_A_PROCESS))
    assert outcomes["lost a commit"] > outcomes["opened"] / 2, "most of the damage is where it shows"
    figure(f"{outcomes['opened']} damaged logs, each exactly the commits before its damage")
