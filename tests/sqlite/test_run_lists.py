"""Lists of runs in files that other programs wrote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import (
    CorruptDatabaseError,
    InvalidJSONError,
    RunRecord,
    StateStore,
)

from tests import predecessor
from tests.conformance.paging import START
from tests.conformance.test_run_lists import NEWEST_FIRST, RUNS, ids, made, paged
from tests.helpers import plain_sqlite, value


def record(path: Path, *runs: dict[str, Any]) -> None:
    """Write runs into a store's file as they are."""
    columns = ["run_id", "run_type", "started_at", "status", "settings_snapshot_json"]
    values = ", ".join(f"value ->> '{column}'" for column in columns)
    sql = f"INSERT INTO runs({', '.join(columns)}) SELECT {values} FROM json_each(?)"
    plain_sqlite(path, (sql, [json.dumps(runs)]))


def test_pages_go_on_after_a_vacuum(path: Path) -> None:
    StateStore(path).close()
    record(path, *RUNS)
    with StateStore(path) as store:
        first = store.list_runs(limit=37)
    plain_sqlite(path, "DELETE FROM runs WHERE rowid % 3 = 0")
    plain_sqlite(path, "VACUUM")
    with StateStore(path) as store:
        kept = ids(store.list_runs())
        expected = [run["run_id"] for run in NEWEST_FIRST[37:] if run["run_id"] in kept]
        assert ids(store.list_runs(cursor=first.next_cursor)) == expected


def test_runs_of_a_predecessors_file_are_read_without_migrating_it(path: Path) -> None:
    plain_sqlite(path, *predecessor.file(indexes=True, journal="DELETE"))
    record(path, *RUNS)
    before = path.read_bytes()
    with StateStore(path, read_only=True) as store:
        old = store.get_run("old-run")
        assert old == RunRecord("old-run", "daily", predecessor.STARTED_AT, "running", {"limit": 10, "name": "é"})
        expected = [run["run_id"] for run in NEWEST_FIRST]
        assert paged(store, 30) == [*expected, "old-run"]
        running = [run["run_id"] for run in NEWEST_FIRST if run["status"] in ("running", "failed")]
        assert paged(store, 9, status=["failed", "running"], since=START) == running
        assert store.count_runs(status=["failed", "running"], since=START) == len(running)
        assert store.count_runs() == 201
        assert store.get_telemetry("old-run") == {"n": 4}
    assert path.read_bytes() == before


def test_settings_of_another_program_that_are_no_json_name_the_run(path: Path) -> None:
    StateStore(path).close()
    record(path, made(1), {**made(2), "settings_snapshot_json": "{"})
    with StateStore(path) as store:
        for call in (partial(store.get_run, "run-2"), store.list_runs):
            with pytest.raises(InvalidJSONError, match=r'_run.*run "run-2", settings_snapshot_json: not JSON'):
                call()
        assert store.get_run("run-1") is not None
        assert store.count_runs() == 2


@pytest.mark.parametrize("column", ["run_type", "started_at", "notes"])
def test_blob_of_another_program_is_an_error_that_names_the_column(path: Path, column: str) -> None:
    StateStore(path).close()
    record(path, made(1))
    plain_sqlite(path, f"UPDATE runs SET {column} = x'ff'")
    with StateStore(path) as store:
        for call in (partial(store.get_run, "run-1"), store.list_runs):
            with pytest.raises(CorruptDatabaseError, match=f'run "run-1": {column} holds Blob'):
                call()


def test_runs_far_apart_in_the_file_are_found_in_their_order_by_an_index(path: Path) -> None:
    """Rows of others lie between: the table is not read that far."""
    StateStore(path).close()
    record(path, *RUNS)
    plain_sqlite(path, "UPDATE runs SET rowid = rowid * 100000")
    filters: list[dict[str, Any]] = [
        {"run_type": "daily"},
        {"status": ["failed", "running"]},
        {"since": START.isoformat(), "until": RUNS[9]["started_at"]},
        {"status": "failed", "since": RUNS[9]["started_at"]},
        {"run_id_prefix": "run-1", "status": ["failed", "running"]},
    ]
    with StateStore(path) as store:
        for each in filters:
            statuses = each.get("status")
            expected = [
                run["run_id"]
                for run in NEWEST_FIRST
                if each.get("run_type") in (None, run["run_type"])
                and (statuses is None or run["status"] in ([statuses] if isinstance(statuses, str) else statuses))
                and each.get("since", "") <= run["started_at"] < each.get("until", "9")
                and run["run_id"].startswith(each.get("run_id_prefix", ""))
            ]
            assert expected
            for limit in (1, 7, 64):
                assert paged(store, limit, **each) == expected, each


def test_cursor_of_an_earlier_version_goes_on(path: Path) -> None:
    """Its form is the same: the row where the page ended, by its time and its place."""
    with StateStore(path) as store:
        for number in range(4):
            store.start_run(f"run-{number}", "daily", {})
        cursor = store.list_runs(limit=2).next_cursor
        assert cursor is not None
        rowid, time = bytes.fromhex(cursor)[16:24], bytes.fromhex(cursor)[24:-8]
        place = value(store, "SELECT rowid FROM runs WHERE run_id = 'run-2'")
        started = value(store, "SELECT started_at FROM runs WHERE run_id = 'run-2'")
        assert (int.from_bytes(rowid), time.decode()) == (place, started)
        assert ids(store.list_runs(cursor=cursor)) == ["run-1", "run-0"]
