"""Tables of the user's own that refer to runs, items or telemetry: what they forbid stays whole, and all else goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from orchestrator.state_store import (
    Deleted,
    InvalidValueError,
    StateStore,
)

from tests.helpers import assert_sound, everything, in_threads, item_ids, make_item, plain_sqlite, table
from tests.sqlite.foreign_keys import HELD, HOLDING, KINDS, LARGE, RUNS, failure, record, run_ids


@pytest.mark.parametrize("name", KINDS)
def test_49_of_50_runs_go_and_the_one_that_is_referred_to_stays_whole(runs_path: Path, name: str) -> None:
    """One row used to hide all runs that a prune had marked, for good, and each later prune failed too."""
    kind = KINDS[name]
    plain_sqlite(runs_path, *kind.schema)
    with StateStore(runs_path) as store:
        before = everything(store)
        whole = Deleted(RUNS, 2 * RUNS, RUNS)
        if not kind.by:
            assert store.prune(keep_last=0, dry_run=True) == whole
            assert store.prune(keep_last=0) == whole
            assert run_ids(store) == ["today"]
            assert store.prune(keep_last=0) == Deleted(0, 0, 0)
        else:
            others = Deleted(RUNS - 1, 2 * RUNS - 2, RUNS - 1)
            error = failure(partial(store.delete_run, HELD))
            assert error.startswith(f'delete_run "{HELD}": ')
            assert kind.by in error
            assert everything(store) == before
            assert store.prune(keep_last=0, dry_run=True) == (others if kind.told else whole)
            assert everything(store) == before
            for gone in (RUNS - 1, 0):
                error = failure(partial(store.prune, keep_last=0))
                assert f'1 of the runs, which stay as they were: run "{HELD}" ({kind.by}' in error
                assert f"{gone} runs, {2 * gone} items, {gone} telemetry documents" in error
                assert run_ids(store) == ["today", HELD]
                assert item_ids(store, HELD) == [f"{HELD}-0", f"{HELD}-1"]
                assert store.get_telemetry(HELD) == {}
            assert table(store, "intel_items")[:2] == [row for row in before[1] if row[1] == HELD]
        assert [tuple(row) for row in store.connection.execute(kind.rows)] == list(kind.left)
        assert store.check() == []
        assert_sound(store)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.by])
def test_once_the_reference_is_gone_so_is_the_run(runs_path: Path, name: str) -> None:
    plain_sqlite(runs_path, *KINDS[name].schema)
    with StateStore(runs_path) as store:
        failure(partial(store.prune, keep_last=0))
    tables = plain_sqlite(runs_path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid DESC")
    own = [each.replace('"', '""') for [each] in tables if each in {"reviews", "labels", "reports", "notes", 'La"bels'}]
    plain_sqlite(runs_path, *[f'DELETE FROM "{each}"' for each in own])
    with StateStore(runs_path) as store:
        assert store.prune(keep_last=0) == Deleted(1, 2, 1)
        assert run_ids(store) == ["today"]


@pytest.mark.parametrize("name", HOLDING)
def test_inside_a_transaction(runs_path: Path, name: str) -> None:
    """What is deferred fails at the commit, which says that nothing was written; all else at once, and alone."""
    deferred = "deferred" in name
    plain_sqlite(runs_path, *KINDS[name].schema)
    with StateStore(runs_path) as store:
        before = everything(store)

        def inside() -> None:
            with store.transaction():
                store.start_run("new", "daily", {})
                if deferred:
                    assert store.delete_run(HELD) == Deleted(1, 2, 1)
                    assert store.get_run(HELD) is None
                else:
                    assert KINDS[name].by in failure(partial(store.delete_run, HELD))
                    assert item_ids(store, HELD) == [f"{HELD}-0", f"{HELD}-1"]

        if deferred:
            error = failure(inside)
            assert "nothing was written" in error
            assert KINDS[name].by.split("(")[0] in error, "the table is named"
            assert everything(store) == before
        else:
            inside()
            assert run_ids(store)[0] == "new"
        store.start_run("after", "daily", {})
        assert_sound(store)


@pytest.mark.parametrize("name", ["a run, deferred", "an item, deferred"])
def test_what_is_deferred_may_be_recorded_again_in_the_same_transaction(runs_path: Path, name: str) -> None:
    plain_sqlite(runs_path, *KINDS[name].schema)
    with StateStore(runs_path) as store:
        with store.transaction():
            store.delete_run(HELD)
            store.start_run(HELD, "again", {})
            with store.transaction():
                store.upsert_intel_item(make_item(f"{HELD}-0", HELD))
        assert item_ids(store, HELD) == [f"{HELD}-0"]
        assert_sound(store)


@pytest.mark.parametrize("name", HOLDING)
def test_nobody_else_gets_an_error(runs_path: Path, name: str) -> None:
    """Threads write while runs are refused to be deleted; each write is kept."""
    plain_sqlite(runs_path, *KINDS[name].schema)
    with StateStore(runs_path) as store:
        done = threading.Event()

        def write(thread: int) -> list[str]:
            names = []
            for number in count():
                names.append(f"{thread}.{number}")
                store.upsert_intel_item(make_item(names[-1], "today"))
                if done.is_set():
                    return names
            raise AssertionError

        def delete() -> list[str]:
            try:
                for _ in range(5):
                    assert KINDS[name].by in failure(partial(store.delete_run, HELD))
                    assert KINDS[name].by in failure(partial(store.prune, keep_last=0))
            finally:
                done.set()
            return ["kept"]

        work: list[Callable[[], list[str]]] = [partial(write, thread) for thread in range(4)]
        written = in_threads([*work, delete])
        assert set(item_ids(store, "today")) == {each for names in written for each in names}
        assert run_ids(store) == ["today", HELD]
        assert_sound(store)


def test_one_that_cannot_be_committed_fails_alone_in_its_group(path: Path) -> None:
    """A deferred constraint is looked at when all that share a commit are committed: the others are written apart."""
    with StateStore(path) as store:
        store.start_run("today", "daily", {})
        store.upsert_intel_item(make_item("held", "today", title="old"))
    plain_sqlite(
        path,
        "CREATE UNIQUE INDEX own ON intel_items(item_id, title)",
        """CREATE TABLE labels(item, title, FOREIGN KEY (item, title) REFERENCES intel_items(item_id, title)
            DEFERRABLE INITIALLY DEFERRED)""",
        "INSERT INTO labels VALUES ('held', 'old')",
    )
    with StateStore(path) as store:

        def guilty() -> list[str]:
            for _ in range(50):
                error = failure(partial(store.upsert_intel_item, make_item("held", "today", title="new")))
                assert error.startswith('upsert_intel_item "held": FOREIGN KEY constraint failed')
                assert "labels" in error
                assert error.endswith("nothing was written")
            return []

        def innocent(thread: int) -> list[str]:
            names = []
            for number in range(50):
                name = f"{thread}.{number}"
                names.append(name)
                if number % 3:
                    store.upsert_intel_item(make_item(name, "today"))
                else:
                    store.upsert_intel_items_batch([make_item(name, "today"), make_item(f"{name}.b", "today")])
                    names.append(f"{name}.b")
            return names

        def large() -> list[str]:
            names = [f"large.{number}" for number in range(3000)]
            for _ in range(5):
                store.upsert_intel_items_batch(make_item(name, "today") for name in names)
            return names

        work: list[Callable[[], list[str]]] = [partial(innocent, thread) for thread in range(6)]
        written = in_threads([*work, guilty, guilty, large])
        assert set(item_ids(store, "today")) == {"held", *(name for names in written for name in names)}
        title = store.connection.execute("SELECT title FROM intel_items WHERE item_id = 'held'").fetchall()
        assert [tuple(row) for row in title] == [("old",)]
        guilty_too = [make_item("held", "today", title="new"), *(make_item(f"more.{n}", "today") for n in range(3000))]
        assert "nothing was written" in failure(partial(store.upsert_intel_items_batch, guilty_too))
        assert_sound(store)


def test_large_runs_go_bit_by_bit_unless_a_row_refers_to_them(path: Path) -> None:
    with StateStore(path, synchronous="NORMAL") as store:
        for run_id in ("first", "second", "third"):
            record(store, run_id, items=LARGE)
    plain_sqlite(path, *KINDS["an item"].schema[:-1], f"INSERT INTO labels VALUES ('second-{LARGE - 1}', 'good')")
    with StateStore(path, synchronous="NORMAL") as store:
        assert store.prune(keep_last=0, dry_run=True) == Deleted(2, 2 * LARGE, 2)
        error = failure(partial(store.prune, keep_last=0))
        assert f"2 runs, {2 * LARGE} items, 2 telemetry documents" in error
        assert len(item_ids(store, "second")) == LARGE
        assert run_ids(store) == ["second"]
        assert store.check() == []


def test_many_runs_that_stay_are_counted_and_a_few_named(runs_path: Path) -> None:
    plain_sqlite(
        runs_path,
        *KINDS["a run"].schema[:-1],
        "INSERT INTO reports SELECT run_id, 'url' FROM runs WHERE run_id IN ('r1', 'r2', 'r3', 'r4', 'r5')",
    )
    with StateStore(runs_path) as store:
        error = failure(partial(store.prune, keep_last=0))
        assert "5 of the runs" in error
        assert "r1" in error
        assert "r4" not in error
        assert run_ids(store) == ["today", "r5", "r4", "r3", "r2", "r1"]


BROKEN = {
    "to what is no key": (
        "CREATE TABLE labels(kind REFERENCES runs(run_type))",
        'foreign key mismatch - "labels" referencing "runs"',
    ),
    "to what is no key, deferred": (
        "CREATE TABLE labels(kind REFERENCES runs(run_type) DEFERRABLE INITIALLY DEFERRED)",
        'foreign key mismatch - "labels" referencing "runs"',
    ),
    "to a column that is not there": (
        "CREATE TABLE labels(kind REFERENCES runs(missing) ON DELETE CASCADE)",
        'foreign key mismatch - "labels" referencing "runs"',
    ),
    "to fewer columns": (
        "CREATE TABLE labels(a, b, FOREIGN KEY (a, b) REFERENCES runs)",
        'foreign key mismatch - "labels" referencing "runs"',
    ),
    "by way of a table that is not there": (
        "CREATE TABLE labels(item_id REFERENCES intel_items ON DELETE CASCADE, x REFERENCES missing)",
        "no such table: main.missing",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_tables_that_refer_to_what_is_not_there_are_named(path: Path, name: str) -> None:
    """SQLite then refuses each deletion, whatever is in them. The file is not damaged, and nothing is hidden."""
    create, named = BROKEN[name]
    with StateStore(path, synchronous="NORMAL") as store:
        for run_id, items in (("small", 2), ("large", LARGE)):
            record(store, run_id, items=items)
        record(store, "today", items=0, status=None)
    plain_sqlite(path, create)
    with StateStore(path, synchronous="NORMAL") as store:
        before = everything(store)
        for call in (partial(store.delete_run, "small"), partial(store.prune, keep_last=0)):
            error = failure(call)
            assert named in error
            assert "labels" in error
        assert everything(store) == before
        assert run_ids(store) == ["today", "large", "small"]
        store.upsert_intel_item(make_item("small-0", "today", title="again"))
        if "deferred" in name:
            assert named in failure(partial(store.start_run, "new", "daily", {}))
        else:
            store.start_run("new", "daily", {})


def test_tables_that_refer_are_found_beside_ones_that_do_not(runs_path: Path) -> None:
    """Those of others, that refer to nothing or to one another, change nothing: runs are marked as ever."""
    plain_sqlite(
        runs_path,
        "CREATE TABLE own(id INTEGER PRIMARY KEY, up REFERENCES own)",
        "INSERT INTO own VALUES (1, 1)",
        "CREATE TABLE words(word)",
    )
    with StateStore(runs_path) as store:
        assert store.prune(keep_last=0) == Deleted(RUNS, 2 * RUNS, RUNS)


def test_a_store_that_is_only_read_counts_what_would_go(runs_path: Path) -> None:
    plain_sqlite(runs_path, *KINDS["a run"].schema)
    with StateStore(runs_path, read_only=True) as store:
        assert store.prune(keep_last=0, dry_run=True).runs == RUNS - 1
        assert store.check() == []


@pytest.mark.parametrize("when", ["", " DEFERRABLE INITIALLY DEFERRED"])
def test_item_that_a_row_refers_to_is_not_deleted_alone(path: Path, when: str) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch([make_item("held"), make_item("free")])
    plain_sqlite(
        path,
        f"CREATE TABLE labels(item_id TEXT REFERENCES intel_items(item_id){when}, label)",
        "CREATE TABLE colours(item_id TEXT REFERENCES intel_items(item_id) ON DELETE CASCADE, colour)",
        "INSERT INTO labels VALUES ('held', 'good')",
        "INSERT INTO colours VALUES ('free', 'red')",
    )
    with StateStore(path) as store:
        with pytest.raises(InvalidValueError, match=r'^delete_intel_item "held": .*\(.*labels.*\).*nothing was'):
            store.delete_intel_item("held")
        assert store.delete_intel_item("free")
        assert item_ids(store) == ["held"]
        assert_sound(store)
    assert plain_sqlite(path, "SELECT item_id FROM labels UNION ALL SELECT item_id FROM colours") == [["held"]]
