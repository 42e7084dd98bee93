"""Sound files, which somebody has changed: no call says that they are corrupt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import Deleted, ForeignDatabaseError, InvalidValueError, StateStore

from tests.helpers import assert_sound, everything, make_item, plain_sqlite

STATUSES = [f"status-{number}" for number in range(40_000)]


@pytest.fixture
def path(path: Path) -> Path:
    """Return a store of two runs that are over, of two items each."""
    with StateStore(path) as store:
        for run in "ab":
            store.start_run(run, "daily", {})
            store.upsert_intel_items_batch([make_item(f"{run}-{number}", run) for number in range(2)])
            store.finish_run(run, "completed", "{}")
    return path


@pytest.mark.parametrize("dry_run", [True, False])
def test_more_statuses_than_fit_into_a_statement(path: Path, dry_run: bool) -> None:
    odd = "\0 \n\x1f\x7f \"'\\ \u00e9\U0001f600"
    with StateStore(path) as store:
        store.start_run("c", "daily", {})
        store.finish_run("c", odd)
        assert store.prune(keep_last=1, status=[*STATUSES, "completed"], dry_run=dry_run).runs == 1
        assert store.prune(keep_last=0, status=[odd], dry_run=dry_run).runs == 1
        assert len(store.list_runs(status=[*STATUSES, "completed"])) == (2 if dry_run else 1)


@pytest.mark.parametrize("version", [-1, 0, 1, 2])
def test_user_version_that_is_wrong(path: Path, version: int) -> None:
    """The tables are those of the latest version all the same."""
    with StateStore(path) as store:
        before = everything(store)
    plain_sqlite(path, f"PRAGMA user_version = {version}")
    with StateStore(path) as store:
        assert everything(store) == before
        assert store.check() == []
        assert_sound(store)


COLUMNS: dict[str, tuple[str, ...]] = {
    "runs(parent) refers to runs": (
        "ALTER TABLE runs ADD COLUMN parent REFERENCES runs",
        "UPDATE runs SET parent = 'a' WHERE run_id = 'b'",
    ),
    "intel_items(origin) refers to intel_items": (
        "ALTER TABLE intel_items ADD COLUMN origin REFERENCES intel_items(item_id)",
        "UPDATE intel_items SET origin = 'a-1' WHERE item_id = 'b-1'",
    ),
    "intel_items(seen) refers to runs": (
        "ALTER TABLE intel_items ADD COLUMN seen REFERENCES runs(run_id)",
        "UPDATE intel_items SET seen = 'a' WHERE item_id = 'b-0'",
    ),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_foreign_key_in_a_column_of_ours(path: Path, column: str) -> None:
    """It was taken for an index that disagrees with another, and one such run kept all others from being pruned."""
    plain_sqlite(path, *COLUMNS[column])
    named = column.replace("(", r"\(").replace(")", r"\)")
    with StateStore(path) as store:
        with pytest.raises(InvalidValueError, match=rf"^delete_run \"a\": .*{named}"):
            store.delete_run("a")
        assert store.check() == []
        assert store.prune(keep_last=0, dry_run=True).runs == 1
        with pytest.raises(InvalidValueError, match=rf"^prune: .*run \"a\" \({named}"):
            store.prune(keep_last=0)
        assert [run.run_id for run in store.list_runs()] == ["a"]
        assert store.prune(keep_last=0) == Deleted(runs=1, intel_items=2, telemetry=0)
        assert_sound(store)


def test_foreign_key_between_items_of_one_run(path: Path) -> None:
    """They go together, in one transaction."""
    plain_sqlite(
        path,
        "ALTER TABLE intel_items ADD COLUMN origin REFERENCES intel_items(item_id)",
        "UPDATE intel_items SET origin = 'a-0' WHERE item_id IN ('a-0', 'a-1')",
    )
    with StateStore(path) as store:
        assert store.prune(keep_last=0, dry_run=True).runs == 2
        assert store.prune(keep_last=0) == Deleted(runs=2, intel_items=4, telemetry=0)
        assert_sound(store)


CHANGES: dict[str, tuple[str, Callable[[StateStore], object]]] = {
    "ALTER TABLE runs ADD COLUMN own AS (json_extract(notes, '$.a')); CREATE INDEX own ON runs(own)": (
        'finish_run "b": malformed JSON',
        lambda store: store.finish_run("b", "failed", "not JSON"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_schema_that_does_not_fit(path: Path, change: str) -> None:
    """It is changed by another program while the store has the file open."""
    said, call = CHANGES[change]
    with StateStore(path) as store:
        plain_sqlite(path, *change.split("; "))
        with pytest.raises(ForeignDatabaseError, match=f"^{said}"):
            call(store)
        assert store.check() == []
