"""Damaged files give typed errors, never a signal or a hang; a damaged log loses no more than it must."""

from __future__ import annotations

import collections
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import CorruptDatabaseError, ForeignDatabaseError, InvalidValueError, StateStore

from tests.helpers import Peer, folder_bytes, in_process, item_ids, make_item, plain_sqlite
from tests.programs import damaged_logs, hostile

OPENING = {"", "NotADatabaseError", "CorruptDatabaseError", "ForeignDatabaseError", "SchemaTooNewError"}
CALLS = {
    "CorruptDatabaseError",
    "ForeignDatabaseError",  # Of a schema that the damage has made.
    "OutOfMemoryError",
    "InvalidJSONError",
    "RunNotFoundError",
    "RunExistsError",
    "IntelItemNotFoundError",
    "InvalidValueError",  # Of a constraint that the damage has made.
    "ReadOnlyError",
}
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


FOR_EVER = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n)"
HARMFUL = {
    "a view by the name of a table": [
        "DROP TABLE telemetry",
        f"CREATE VIEW telemetry AS SELECT {FOR_EVER} AS run_id, '{{}}' AS telemetry_json, '' AS created_at",
    ],
    "a trigger": [f"CREATE TRIGGER harm AFTER INSERT ON intel_items BEGIN SELECT {FOR_EVER}; END"],
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_schema_that_would_compute_for_ever_is_refused_untouched(run_path: Path, kind: str) -> None:
    plain_sqlite(run_path, *HARMFUL[kind])
    before = folder_bytes(run_path.parent)
    with pytest.raises(ForeignDatabaseError, match=r"telemetry|trigger"):
        StateStore(run_path)
    assert folder_bytes(run_path.parent) == before


@pytest.mark.parametrize("disguise", ["table", "index", ""])
def test_trigger_that_hides_among_other_entries_is_refused(run_path: Path, disguise: str) -> None:
    sql = f"UPDATE sqlite_schema SET type = '{disguise}' WHERE type = 'trigger'"
    plain_sqlite(run_path, *HARMFUL["a trigger"], "PRAGMA writable_schema = ON", sql)
    with pytest.raises(CorruptDatabaseError, match="harm"):
        StateStore(run_path)


def test_file_with_a_trigger_can_be_read(run_path: Path) -> None:
    plain_sqlite(run_path, *HARMFUL["a trigger"])
    with StateStore(run_path, read_only=True) as store:
        assert item_ids(store) == []


def test_constraint_that_somebody_added_is_a_value_error(run_path: Path) -> None:
    plain_sqlite(run_path, "CREATE UNIQUE INDEX titles ON intel_items (title)")
    with StateStore(run_path) as store:
        store.upsert_intel_item(make_item("a"))
        with pytest.raises(InvalidValueError, match=r'"b".*UNIQUE'):
            store.upsert_intel_item(make_item("b"))
        assert item_ids(store) == ["a"]
