"""The fence of a recovered run: what only a file of SQLite's, or the core's own calls, can show."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import RunFinishedError, StateStore

from tests.conformance.test_fencing import FENCED, get, work_beside_a_dead_worker, write_job
from tests.helpers import TIMEOUT, make_item, plain_sqlite


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    """Open a store with the run `dead`, which recorded an item and was recovered, and `next`, which does it again."""
    with StateStore(path) as store:
        store.start_run("dead", "daily", {})
        write_job(store, "dead", "half of it")
        assert [run.run_id for run in store.recover_stale_runs(0)] == ["dead"]
        store.start_run("next", "daily", {})
        yield store


def test_batch_is_refused_before_anything_of_it_is_written(store: StateStore) -> None:
    """A constraint of the file's owner, which the first item violates, would be met first otherwise."""
    plain_sqlite(store.db_path, "CREATE UNIQUE INDEX titles ON intel_items(title)")
    items = [make_item("other", "next", title="half of it"), make_item("stale", "dead", title="stale")]
    with pytest.raises(RunFinishedError, match=r'item 1 \("stale"\)'):
        store.upsert_intel_items_batch(items)


def call_running(store: StateStore) -> None:
    """Do what the predecessor does for `finish_run("dead", "running")`."""
    plain_sqlite(store.db_path, "UPDATE runs SET status = 'running' WHERE run_id = 'dead'")


def test_end_of_a_block_is_refused(store: StateStore) -> None:
    for _ in range(2):
        with pytest.raises(RunFinishedError, match=FENCED):
            store._core.finish_run("dead", "completed", None, False, if_running=True)
        call_running(store)
    with pytest.raises(RunFinishedError, match=FENCED), store.transaction():
        store._core.finish_run("dead", "completed", None, False, if_running=True)
    store.reopen_run("dead")
    store._core.finish_run("dead", "completed", None, False, if_running=True)
    assert get(store).status == "completed"


def test_run_that_another_program_calls_running_gets_no_heartbeats(store: StateStore) -> None:
    call_running(store)
    store._core.begin_heartbeats("dead")
    store._core.begin_heartbeats("next")
    begun = time.monotonic()
    while get(store, "next").heartbeat_at is None:
        assert time.monotonic() < begun + TIMEOUT
        os.sched_yield()
    assert get(store).heartbeat_at is None, "it was recovered in its first second"


def test_threads_that_share_a_commit_with_a_dead_worker_are_not_disturbed(store: StateStore) -> None:
    work_beside_a_dead_worker(store)
    assert store.stats().grouped_writes > 0, "nobody shared a commit"
