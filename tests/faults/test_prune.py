"""Killed in the middle of a prune: the next one completes it, and nobody ever reads half a run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from orchestrator.state_store import InvalidValueError, StateStore

from tests.helpers import Peer, assert_sound, in_process, item_ids, plain_sqlite, value
from tests.programs import retention
from tests.programs.exits import item

RUNS = 60
DAY = 86400
LONGEST_PRUNE = 0.15
"""Seconds within which the kill comes."""


def fill(store: StateStore) -> None:
    """Record old runs, and two that stay: one of another type and one that goes on."""
    for run in range(RUNS):
        retention.record(store, f"old-{run}")
    store.start_run("run-1", "daily", {})
    store.start_run("run-2", "daily", {})
    store.finish_run("run-2", "completed")
    for part in range(3):
        store.upsert_intel_item({**item(f"kept.{part}"), "run_id": "run-2"})
    store.write_telemetry("run-2", {})


def rest(store: StateStore) -> list[list[tuple[object, ...]]]:
    """Return all that belongs to no old run."""
    return [
        [tuple(row) for row in store.connection.execute(f"SELECT * FROM {table} WHERE run_id NOT LIKE 'old-%'")]
        for table in ("runs", "intel_items", "telemetry")
    ]


def left(store: StateStore) -> list[int]:
    """Return how many old runs are there, how many of them as if they were not, and how many items of old runs."""
    return [
        value(store, f"SELECT count(*) FROM {what}")
        for what in (
            "runs WHERE run_id LIKE 'old-%'",
            "runs WHERE pruned_at IS NOT NULL",
            "intel_items WHERE run_id LIKE 'old-%'",
        )
    ]


def test_a_killed_prune_is_completed_by_the_next(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    random_ = random.Random(5)
    wanted = rounds(5, 150)
    kills = halves = 0
    with StateStore(path, synchronous="NORMAL") as store:
        fill(store)
        kept = rest(store)
    while halves < wanted:
        kills += 1
        with Peer(retention.prune, str(path), 0) as peer:
            assert peer.hear() == "ready"
            peer.tell()
            time.sleep(random_.uniform(0, LONGEST_PRUNE))
            peer.kill()
            peer.process.wait()
        with StateStore(path, synchronous="NORMAL") as store:
            assert_sound(store)
            assert rest(store) == kept
            runs, marked, items = left(store)
            halves += marked > 0
            sizes = {len(item_ids(store, f"old-{run}")) for run in range(RUNS)}
            assert sizes <= {0, retention.PARTS}, "half a run is read"
            done = store.prune(older_than=0, run_type="old")
            assert (done.runs, done.intel_items) == (runs, items)
            assert left(store) == [0, 0, 0]
            assert rest(store) == kept
            assert_sound(store)
            for run in range(RUNS):
                retention.record(store, f"old-{run}")
    figure(f"{kills} kills, {halves} of them in the middle, each completed by the next prune")


LARGE = 2000
"""Items of a run that is deleted bit by bit where no row refers to it."""


def test_a_prune_that_is_killed_beside_tables_of_others_is_completed_but_for_what_they_hold(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Labels go with their items, one report holds its run, and large runs are hidden one at a time."""
    random_ = random.Random(7)
    wanted = rounds(4, 60)
    kills = halves = 0
    with StateStore(path, synchronous="NORMAL") as store:
        fill(store)
    plain_sqlite(
        path,
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE CASCADE)",
        "CREATE INDEX by_item ON labels(item_id)",
        "CREATE TABLE reports(run_id TEXT REFERENCES runs DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO reports VALUES ('old-30')",
    )
    sizes = {f"old-{run}": retention.PARTS for run in range(RUNS)} | {f"old-large-{run}": LARGE for run in range(3)}
    while halves < wanted:
        kills += 1
        with StateStore(path, synchronous="NORMAL") as store:
            there = {run.run_id for run in store.list_runs()}
            for run_id, size in sizes.items():
                if run_id not in there:
                    retention.record(store, run_id, size)
            kept = rest(store)
        plain_sqlite(
            path, "DELETE FROM labels", "INSERT INTO labels SELECT item_id FROM intel_items WHERE run_id LIKE 'old-_'"
        )
        with Peer(retention.prune_beside, str(path)) as peer:
            assert peer.hear() == "ready"
            peer.tell()
            time.sleep(random_.uniform(0, 2 * LONGEST_PRUNE))
            peer.kill()
            peer.process.wait()
        with StateStore(path, synchronous="NORMAL") as store:
            assert_sound(store)
            assert rest(store) == kept
            runs, marked, items = left(store)
            halves += marked > 0
            assert marked <= 1, "one at a time"
            assert all(len(item_ids(store, run_id)) in {0, size} for run_id, size in sizes.items()), (
                "half a run is read"
            )
            assert len(item_ids(store, "old-30")) == retention.PARTS
            of_labels = "SELECT count(*) FROM labels"
            assert value(store, of_labels) == value(store, f"{of_labels} JOIN intel_items USING (item_id)")
            assert store.check() == []
            with pytest.raises(InvalidValueError, match=r'run "old-30" \(reports\(run_id\) refers to runs') as error:
                store.prune(older_than=0, run_type="old")
            assert f"{runs - 1} runs, {items - retention.PARTS} items" in str(error.value)
            assert left(store) == [1, 0, retention.PARTS]
            assert value(store, of_labels) == 0
            assert rest(store) == kept
            assert store.check() == []
            assert_sound(store)
    figure(f"{kills} kills beside tables of others, {halves} with a run half deleted, each completed by the next prune")


def test_nobody_reads_half_a_run_and_no_item_that_comes_again_is_lost(
    path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """While one process prunes, others list the old runs, and upsert their items as those of a run that goes on.

    An item that came again before its run was marked keeps the run; one that came later is new.
    """
    new = runs = 0
    for turn in range(rounds(2, 20)):
        with StateStore(path.with_name(f"{turn}.db"), synchronous="NORMAL") as store:
            fill(store)
        file = str(path.with_name(f"{turn}.db"))
        plain_sqlite(Path(file), "UPDATE runs SET finished_at = '2026-01-01T00:00:00+00:00' WHERE run_type = 'old'")
        with ExitStack() as stack:
            readers = [stack.enter_context(Peer(retention.watch, file, RUNS)) for _ in range(2)]
            writer = stack.enter_context(Peer(retention.see_again, file, RUNS))
            pruner = stack.enter_context(Peer(retention.prune, file, DAY))
            for each in (*readers, writer, pruner):
                assert each.hear() == "ready"
            writer.tell()
            pruner.tell()
            pruned = pruner.result()
            assert pruned[0] == pruned[2] > 0
            runs += pruned[0]
            for each in (*readers, writer):
                each.tell()
            written = set(writer.result())
            torn = [reader.result() for reader in readers]
        assert torn == [0, 0], "half a run was read"
        with StateStore(file) as store:
            assert_sound(store)
            assert left(store)[:2] == [RUNS - pruned[0], 0]
            there = {row[0] for row in store.connection.execute("SELECT item_id FROM intel_items")}
            assert written - there == set(), "an acknowledged upsert is gone"
            new += len(item_ids(store, "run-1"))
    assert new
    figure(f"{runs} runs pruned, {new} of their items came again meanwhile and stayed")


@pytest.mark.parametrize("act", retention.LONG)
def test_ctrl_c_ends_what_takes_long(path: Path, act: str, figure: Callable[[str], None]) -> None:
    seconds = in_process(retention.be_interrupted, str(path), act)
    assert seconds < 2
    with StateStore(path, synchronous="NORMAL") as store:
        assert_sound(store)
        assert value(store, "SELECT count(*) FROM runs WHERE run_id = 'after'") == 1
    figure(f"after {seconds * 1000:.0f} ms")


def test_ctrl_c_ends_a_prune_and_the_next_completes_it(path: Path) -> None:
    in_process(retention.prune_and_be_interrupted, str(path))
    with StateStore(path, synchronous="NORMAL") as store:
        assert_sound(store)
        runs, marked, items = left(store)
        assert marked > 0
        done = store.prune(keep_last=0)
        assert (done.runs, done.intel_items) == (runs, items)
        assert left(store) == [0, 0, 0]
        assert value(store, "SELECT run_id FROM runs") == "after"
