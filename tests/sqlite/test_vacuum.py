"""StateStore.vacuum: the file shrinks, nothing in it changes, and it says why where it does not shrink."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import (
    InvalidTypeError,
    ReadOnlyError,
    StateStore,
    StoreBusyError,
    TransactionError,
    Vacuumed,
)

from tests import predecessor
from tests.helpers import (
    Peer,
    assert_sound,
    everything,
    item_ids,
    make_item,
    plain_sqlite,
    put,
)
from tests.programs import plain, retention

MB = 1_000_000


def fill(store: StateStore, run_id: str) -> None:
    """Record a run of some 4 MB that is completed."""
    store.start_run(run_id, "daily", {})
    store.upsert_intel_items_batch(make_item(f"{run_id}-{index}", run_id, summary="s" * 2000) for index in range(2000))
    store.finish_run(run_id, "completed")


@pytest.fixture
def holey(path: Path) -> Iterator[StateStore]:
    """Return a store whose file is half empty."""
    with StateStore(path, synchronous="NORMAL", busy_timeout=0.3) as store:
        for run_id in ("first", "second"):
            fill(store, run_id)
        store.delete_run("first")
        yield store


@pytest.mark.parametrize("full", [False, True])
def test_free_pages_are_given_back_and_nothing_else_changes(holey: StateStore, full: bool) -> None:
    before = everything(holey)
    holey.checkpoint()
    size = holey.db_path.stat().st_size
    done = holey.vacuum(full=full)
    assert done.bytes_freed > 3 * MB
    assert done.reason is None
    assert holey.db_path.stat().st_size == size - done.bytes_freed
    assert holey.stats().free_bytes == 0
    assert everything(holey) == before
    assert item_ids(holey, "second") == [f"second-{index}" for index in range(2000)]
    assert_sound(holey)
    assert holey.vacuum(full=full) == Vacuumed(0, None)


@pytest.mark.parametrize("full", [False, True])
def test_places_in_the_tables_stay(holey: StateStore, full: bool) -> None:
    """Lists and cursors order rows of the same time by them."""
    tables = ("runs", "intel_items", "telemetry")
    places = [holey.connection.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in tables]
    holey.vacuum(full=full)
    assert [holey.connection.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in tables] == places


def test_others_write_meanwhile(holey: StateStore) -> None:
    done = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not done.is_set():
            written.append(f"meanwhile-{len(written)}")
            patient.upsert_intel_item(make_item(written[-1], "second"))

    with StateStore(holey.db_path, synchronous="NORMAL") as patient:
        writer = threading.Thread(target=write)
        writer.start()
        vacuumed = patient.vacuum()
        done.set()
        writer.join()
    assert vacuumed.bytes_freed > 3 * MB
    assert written
    assert set(written) <= set(item_ids(holey, "second"))
    assert_sound(holey)


def test_other_stores_and_processes_read_on(holey: StateStore) -> None:
    with StateStore(holey.db_path) as other, Peer(retention.read, str(holey.db_path), "second") as reader:
        assert len(item_ids(other, "second")) == 2000
        assert reader.hear() == "2000"
        assert holey.vacuum().bytes_freed > 3 * MB
        assert holey.vacuum(full=True).reason is None
        assert len(item_ids(other, "second")) == 2000
        put_in = make_item("late", "second")
        other.upsert_intel_item(put_in)
        reader.tell()
        assert reader.hear() == "2001"
        assert_sound(other)


@pytest.mark.parametrize("full", [False, True])
def test_a_reader_elsewhere_keeps_the_file_and_the_reason_says_so(holey: StateStore, full: bool) -> None:
    with Peer(retention.hold_a_read, str(holey.db_path)) as reader:
        assert reader.hear() == "ready"
        done = holey.vacuum(full=full)
        assert done.bytes_freed == 0
        assert done.reason is not None
        assert "others read or write" in done.reason
        reader.tell()
        reader.result()
    size = holey.db_path.stat().st_size
    assert holey.checkpoint().complete
    assert holey.db_path.stat().st_size < size - 3 * MB


@pytest.mark.parametrize("full", [False, True])
def test_a_lock_held_elsewhere_is_a_reason(holey: StateStore, full: bool) -> None:
    with Peer(plain.hold, str(holey.db_path)) as holder:
        assert holder.hear() == "ready"
        done = holey.vacuum(full=full)
        assert done.bytes_freed == 0
        assert done.reason is not None
        assert "busy_timeout" in done.reason
        holder.tell()
        holder.result()
    assert holey.vacuum(full=full).bytes_freed > 3 * MB


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_file_of_the_predecessor_shrinks_once_it_is_rewritten(path: Path, journal: str) -> None:
    plain_sqlite(path, *predecessor.file(indexes=True, journal=journal))
    with StateStore(path) as store:
        fill(store, "first")
        store.delete_run("first")
        done = store.vacuum()
        assert done.bytes_freed == 0
        assert done.reason is not None
        assert "full=True" in done.reason
        assert store.vacuum(full=True).bytes_freed > 3 * MB
        fill(store, "second")
        store.delete_run("second")
        assert store.vacuum().bytes_freed > 3 * MB
        assert_sound(store)
    assert plain_sqlite(path, "PRAGMA auto_vacuum") == [[2]]


def test_a_fork_afterwards_finds_the_store_as_usual(holey: StateStore) -> None:
    with Peer(retention.vacuum_and_fork, str(holey.db_path)) as peer:
        assert peer.result() == [2001, 2002]
    assert_sound(holey)


def test_inside_a_transaction_read_only_and_in_memory(run_path: Path) -> None:
    with StateStore(run_path) as store:
        with store.transaction(), pytest.raises(TransactionError, match="vacuum"):
            store.vacuum()
        with pytest.raises(InvalidTypeError, match="vacuum: full"):
            store.vacuum(full=1)  # type: ignore[arg-type]
    with StateStore(run_path, read_only=True) as store, pytest.raises(ReadOnlyError, match="vacuum"):
        store.vacuum()
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        for full in (False, True):
            assert store.vacuum(full=full) == Vacuumed(0, "a store in memory has no file")
        put(store, "after")


def test_task_beside_a_transaction_of_its_thread_is_busy_at_once(store: StateStore) -> None:
    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()

        async def hold() -> None:
            with store.transaction():
                entered.set()
                await leave.wait()

        holder = asyncio.create_task(hold())
        await entered.wait()
        for call in (store.checkpoint, store.vacuum, lambda: store.vacuum(full=True)):
            with pytest.raises(StoreBusyError, match="never end"):
                call()
        leave.set()
        await holder

    asyncio.run(main())
