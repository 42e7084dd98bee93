"""`read_only=True`: reads everything, changes nothing, also where nothing can be changed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import CannotOpenError, ForeignDatabaseError, ReadOnlyError, SchemaTooNewError, StateStore

from tests import predecessor
from tests.helpers import TIMEOUT, Peer, everything, folder_bytes, in_process, item_ids, make_item, plain_sqlite, value
from tests.programs import plain, readers


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user can enter: those of pytest are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="state-store-"))
    folder.chmod(0o755)
    yield folder
    for each in (folder, *folder.glob("*/")):
        each.chmod(0o755)
    shutil.rmtree(folder)


def fill(path: Path, **options: Any) -> None:
    with StateStore(path, **options) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch([make_item("a"), make_item("b")])
        store.finish_run("run-1", "completed")


WRITES: dict[str, Callable[[StateStore], object]] = {
    "start_run": lambda store: store.start_run("run-2", "daily", {}),
    "finish_run": lambda store: store.finish_run("run-1", "failed"),
    "run": lambda store: store.run("run-2", "daily", {}).__enter__(),
    "heartbeat": lambda store: store.heartbeat("run-1"),
    "recover_stale_runs": lambda store: store.recover_stale_runs(0),
    "reopen_run": lambda store: store.reopen_run("run-1"),
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item("c")),
    "upsert_intel_items_batch": lambda store: store.upsert_intel_items_batch([make_item("c")]),
    "decide": lambda store: store.decide("a", "promote"),
    "decide_batch": lambda store: store.decide_batch({"a": "promote"}),
    "start_run again": lambda store: store.start_run("run-1", "daily", {}, if_exists="return"),
    "delete_intel_item": lambda store: store.delete_intel_item("item-1"),
    "merge_telemetry": lambda store: store.merge_telemetry("run-1", {}),
    "write_telemetry": lambda store: store.write_telemetry("run-1", {}),
    "delete_run": lambda store: store.delete_run("run-1"),
    "prune": lambda store: store.prune(keep_last=0),
    "vacuum": lambda store: store.vacuum(),
    "checkpoint": lambda store: store.checkpoint(),
    "execute": lambda store: store.connection.execute("DELETE FROM intel_items"),
}


@pytest.mark.parametrize("write", WRITES)
def test_writes_are_refused_and_reads_go_on(path: Path, write: str) -> None:
    fill(path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    with StateStore(path, read_only=True) as store:
        with pytest.raises(ReadOnlyError):
            WRITES[write](store)
        assert item_ids(store) == ["a", "b"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_write_in_a_transaction_is_refused(path: Path) -> None:
    fill(path)
    before = path.read_bytes()
    with StateStore(path, read_only=True) as store:
        with pytest.raises(ReadOnlyError), store.transaction():
            store.upsert_intel_item(make_item("c"))
        assert item_ids(store) == ["a", "b"]
    assert path.read_bytes() == before


def test_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(CannotOpenError, match=r"state\.db"):
        StateStore(tmp_path / "sub" / "state.db", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("indexes", [False, True])
@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_predecessors_file_is_read_and_not_migrated(path: Path, indexes: bool, journal: str) -> None:
    plain_sqlite(path, *predecessor.file(indexes=indexes, journal=journal))
    before = path.read_bytes()
    with StateStore(path, read_only=True) as store:
        assert item_ids(store, "old-run") == predecessor.ITEMS_IN_ORDER
        assert value(store, "SELECT status FROM runs") == "running"
    assert path.read_bytes() == before


def test_reader_sees_what_a_writer_commits_meanwhile(path: Path) -> None:
    fill(path)
    with StateStore(path) as writer, StateStore(path, read_only=True) as reader:
        writer.upsert_intel_item(make_item("c"))
        assert item_ids(reader) == ["a", "b", "c"]
        with writer.transaction():
            writer.upsert_intel_item(make_item("d"))
            assert item_ids(reader) == ["a", "b", "c"]
        assert item_ids(reader) == ["a", "b", "c", "d"]


def test_closing_a_reader_loses_nothing_of_the_writer(path: Path) -> None:
    fill(path)
    with StateStore(path) as writer:
        StateStore(path, read_only=True).close()
        writer.upsert_intel_item(make_item("c"))
        before = everything(writer)
    with StateStore(path) as store:
        assert everything(store) == before


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_read_only_folder(public: Path, journal: str) -> None:
    path = public / "state.db"
    fill(path, file_mode=0o644)
    if journal == "DELETE":
        plain_sqlite(path, "PRAGMA journal_mode = DELETE")
    public.chmod(0o555)
    path.chmod(0o444)
    before = folder_bytes(public)
    result = in_process(readers.read_as_nobody, str(path), "run-1", {"read_only": True})
    assert result == {"writable": False, "items": ["a", "b"], "status": "completed"}
    assert folder_bytes(public) == before


def test_copies_from_a_read_only_folder(public: Path) -> None:
    """Each needs a moment that lasts. Nothing locks the file there: one that changes meanwhile is no such moment."""
    path = public / "real" / "state.db"
    path.parent.mkdir()
    fill(path, file_mode=0o644)
    with StateStore(path) as store:
        # More than the pages that are copied at a time.
        store.upsert_intel_item(make_item("a", summary="x" * 6_000_000))
    path.chmod(0o444)
    path.parent.chmod(0o555)
    public.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(path, readers.NOBODY, -1)
    before = folder_bytes(path.parent)
    found = in_process(readers.copy_as_nobody, str(path), str(public))
    whole = {"items": ["a", "b"], "status": "completed"}
    assert found["backup.db"] == found["copied.db"] == whole
    assert (found["errors"], found["late"]) == (["StoreBusyError", "StoreBusyError"], False)
    assert folder_bytes(path.parent) == before


def test_long_list_of_a_file_that_changes_meanwhile_begins_anew(public: Path) -> None:
    """Without a -shm nothing locks the file. What was converted before is of another moment."""
    path = public / "state.db"
    with StateStore(path, file_mode=0o644) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{index}", claims_json=[{}]) for index in range(5000))
    public.chmod(0o555)
    path.chmod(0o444)
    if os.geteuid() == 0:
        os.chown(path, readers.NOBODY, -1)
    assert set(in_process(readers.list_while_the_file_changes, str(path), "run-1")) == {5000}


def lock_up(public: Path, through: str) -> Path:
    """Make everything in the folder of a store read-only; return the path by which it is to be opened."""
    link = public / "link.db"
    link.symlink_to(Path("real") / "state.db")
    for entry in (public / "real").iterdir():
        entry.chmod(0o444)
    (public / "real").chmod(0o555)
    public.chmod(0o555)
    return link if through == "a link" else public / "real" / "state.db"


@pytest.mark.parametrize("index", ["with the log's index", "without"])
@pytest.mark.parametrize("through", ["its name", "a link"])
def test_read_only_folder_with_a_log_left_by_a_crash_is_never_read_without_it(
    public: Path, through: str, index: str
) -> None:
    path = public / "real" / "state.db"
    path.parent.mkdir(0o755)
    fill(path, file_mode=0o644)
    with Peer(readers.write_and_die, str(path), "run-2", 3) as peer:
        assert peer.hear() == "written"
        peer.kill()
    assert path.with_name("state.db-wal").stat().st_size
    if index == "without":
        path.with_name("state.db-shm").unlink()
    result = in_process(readers.read_as_nobody, str(lock_up(public, through)), "run-2", {"read_only": True})
    if "error" not in result:
        assert result["items"] == ["run-2-0", "run-2-1", "run-2-2"]
    with StateStore(path) as store:
        assert item_ids(store, "run-2") == ["run-2-0", "run-2-1", "run-2-2"]


UNCOMMITTED = [
    "PRAGMA cache_size = 1",
    "BEGIN",
    "UPDATE intel_items SET title = hex(zeroblob(20000)) || 'uncommitted', run_id = 'never'",
    "INSERT INTO runs SELECT 'never', 'daily', 's', NULL, 'x', hex(zeroblob(20000)), NULL",
    "SELECT count(title) FROM intel_items",
]
"""More than fits into the cache, so that it is in the file already."""


@pytest.mark.parametrize("through", ["its name", "a link"])
def test_read_only_folder_with_a_journal_left_by_a_crash_is_an_error(public: Path, through: str) -> None:
    """What is in the file was not committed, and the journal that undoes it cannot be played back."""
    path = public / "real" / "state.db"
    path.parent.mkdir(0o755)
    plain_sqlite(path, *predecessor.file(indexes=True, journal="DELETE"))
    before = path.read_bytes()
    with Peer(plain.run_and_die, str(path), UNCOMMITTED) as peer:
        assert peer.hear() == "ready"
        assert peer.process.wait(TIMEOUT) == 0
    assert path.with_name("state.db-journal").stat().st_size
    assert path.read_bytes() != before
    result = in_process(readers.read_as_nobody, str(lock_up(public, through)), "old-run", {"read_only": True})
    assert result.get("error") in ("CannotOpenError", "ReadOnlyError"), result
    with StateStore(path) as store:
        assert item_ids(store, "old-run") == predecessor.ITEMS_IN_ORDER
        assert item_ids(store, "never") == []


def test_opening_to_write_without_the_right_names_the_path(public: Path) -> None:
    path = public / "state.db"
    fill(path, file_mode=0o644)
    public.chmod(0o555)
    path.chmod(0o444)
    before = folder_bytes(public)
    result = in_process(readers.read_as_nobody, str(path), "run-1", {})
    assert result["error"] in ("CannotOpenError", "ReadOnlyError"), result
    assert os.fspath(path) in result["message"]
    assert folder_bytes(public) == before


@pytest.mark.parametrize("folder", [0o755, 0o777])
def test_opening_to_write_without_the_right_fails_while_a_writer_has_it_open(public: Path, folder: int) -> None:
    """With the log and its index there it once opened, and each write failed."""
    path = public / "state.db"
    fill(path, file_mode=0o644)
    public.chmod(folder)
    refusal = {"error": "ReadOnlyError", "message": f"open {path}: Permission denied (os error 13)"}
    with Peer(readers.write_and_die, str(path), "run-2", 1) as peer:
        assert peer.hear() == "written"
        if os.geteuid() != 0:
            path.chmod(0o444)
        refused = in_process(readers.read_as_nobody, str(path), "run-1", {})
        assert refused == {"writable": folder == 0o777, **refusal}
        result = in_process(readers.read_as_nobody, str(path), "run-1", {"read_only": True})
        assert result["items"] == ["a", "b"]
        peer.kill()
    path.chmod(0o644)
    StateStore(path).close()
    if os.geteuid() != 0:
        path.chmod(0o444)
    refused = in_process(readers.read_as_nobody, str(path), "run-1", {})
    assert refused == {"writable": folder == 0o777, **refusal}
    assert [each.name for each in public.iterdir()] == ["state.db"]


REFUSED = {
    "of another program": ("CREATE TABLE theirs(x)", ForeignDatabaseError),
    "too new": ("PRAGMA user_version = 2000000000", SchemaTooNewError),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_opening_leaves_nothing(path: Path, why: str) -> None:
    """It once left an empty log, and its index."""
    statement, error = REFUSED[why]
    if why == "too new":
        fill(path)
    plain_sqlite(path, "PRAGMA journal_mode = WAL", statement)
    before = folder_bytes(path.parent)
    for read_only in (True, False):
        with pytest.raises(error):
            StateStore(path, read_only=read_only)
        assert folder_bytes(path.parent) == before


def test_unreadable_file_is_an_error_that_names_the_path(public: Path) -> None:
    path = public / "state.db"
    fill(path)
    path.chmod(0)
    result = in_process(readers.read_as_nobody, str(path), "run-1", {"read_only": True})
    assert result["error"] == "CannotOpenError", result
    assert os.fspath(path) in result["message"]
