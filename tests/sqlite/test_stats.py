"""StateStore.stats: what is in the file, and what was done to it."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

from orchestrator.state_store import SQLITE_VERSION, StateStore

from tests import predecessor
from tests.helpers import held_transaction, in_threads, make_item, plain_sqlite, put


def test_rows_are_counted_by_table_and_status(store: StateStore) -> None:
    store.start_run("run-2", "daily", {})
    store.start_run("run-3", "daily", {})
    store.finish_run("run-3", "completed")
    put(store, "a", "b", "a")
    store.write_telemetry("run-1", {})
    stats = store.stats()
    assert stats.runs == 3
    assert stats.runs_by_status == {"completed": 1, "running": 2}
    assert (stats.intel_items, stats.telemetry) == (2, 1)
    assert stats.sqlite_version == SQLITE_VERSION
    assert stats.schema_version == 3


def test_sizes_are_those_of_the_files(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(f"{index}", summary="s" * 2000) for index in range(500))
    log = store.db_path.with_name("state.db-wal")
    stats = store.stats()
    assert (stats.file_bytes, stats.wal_bytes) == (store.db_path.stat().st_size, log.stat().st_size)
    assert stats.wal_bytes > 0
    assert stats.page_size == 4096
    assert stats.free_bytes == 0
    store.delete_run("run-1", force=True)
    assert store.stats().free_bytes > 900_000
    store.checkpoint()
    stats = store.stats()
    assert (stats.file_bytes, stats.wal_bytes) == (store.db_path.stat().st_size, 0)


def test_counters_count_what_this_store_does(path: Path) -> None:
    with StateStore(path) as store, StateStore(path) as other:
        store.start_run("run-1", "daily", {})
        before = store.stats()
        for name in ("a", "b", "c"):
            put(store, name)
        with store.transaction():
            put(store, "d", "e")
            with store.transaction():
                put(store, "f")
        put(other, "g")
        after = store.stats()
        assert after.commits - before.commits == 4
        assert after.syncs - before.syncs == 4
        assert after.grouped_writes == before.grouped_writes == 0
        store.checkpoint()
        assert store.stats().checkpoints == before.checkpoints + 1
        assert dataclasses.astuple(other.stats())[10:12] == (1, 0)


def test_calls_that_share_a_commit_are_counted(store: StateStore) -> None:
    before = store.stats()
    with held_transaction(store):
        pass
    in_threads([partial(put, store, *[f"{each}-{index}" for index in range(50)]) for each in range(8)])
    after = store.stats()
    assert (after.commits - before.commits) + (after.grouped_writes - before.grouped_writes) == 400
    assert after.grouped_writes > before.grouped_writes


def test_a_transaction_counts_its_own_writes(store: StateStore) -> None:
    with store.transaction():
        put(store, "a")
        assert store.stats().intel_items == 1
    assert store.stats().intel_items == 1


def test_read_only_in_memory_and_a_file_of_the_predecessor(path: Path) -> None:
    plain_sqlite(path, *predecessor.file(indexes=True, journal="WAL"))
    with StateStore(path, read_only=True) as store:
        stats = store.stats()
        assert stats.intel_items == len(predecessor.ITEMS_IN_ORDER)
        assert (stats.schema_version, stats.commits) == (0, 0)
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        stats = store.stats()
        assert stats.runs_by_status == {"running": 1}
        assert stats.file_bytes > 0
        assert (stats.wal_bytes, stats.syncs) == (0, 0)
