"""The file is moved, removed or replaced while a store has it open: by logrotate, a clean-up job, a restore.

Writes used to go on into a file, or a log, that nobody would find: all acknowledged, none there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import FileMovedError, StateStore

from tests.helpers import ROOT, TIMEOUT, Boom, Peer, assert_sound, in_process, item_ids, make_item, put
from tests.programs import movers
from tests.tracing import under_strace

TOLD = "FileMovedError: "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path in a folder of its own, which can be moved as well."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder / "state.db"


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user can enter: those of pytest are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="state-store-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def rename(path: Path) -> None:
    path.rename(beside(path, ".old"))


def rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def restore(path: Path) -> None:
    """Put a backup in its place."""
    beside(path, ".backup").rename(path)


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def remove_log(path: Path) -> None:
    beside(path, "-wal").unlink()


def replace_log(path: Path) -> None:
    beside(path, "-wal.new").write_bytes(beside(path, "-wal").read_bytes())
    beside(path, "-wal.new").rename(beside(path, "-wal"))


def remove_index(path: Path) -> None:
    beside(path, "-shm").unlink()


MOVES = [Path.unlink, rename, rename_folder, restore, put_a_folder_there, loop, remove_log, replace_log, remove_index]


def make_backup(path: Path) -> None:
    with StateStore(beside(path, ".backup")) as store:
        store.start_run("run-1", "daily", {})
        put(store, "from the backup")


@pytest.mark.parametrize("move", MOVES)
def test_no_call_acknowledges_a_write_to_a_file_that_is_gone(
    path: Path, move: Callable[[Path], None], figure: Callable[[str], None]
) -> None:
    """Every call that writes is told, as is the end of what was open; and nothing of them is in any file."""
    make_backup(path)
    with Peer(movers.write_in_every_way, str(path)) as peer:
        assert peer.hear() == "ready"
        move(path)
        peer.tell()
        came = peer.result()
    again = came.pop("close again")
    for name, outcome in came.items():
        assert outcome.startswith(TOLD), (name, outcome)
        assert str(path) in outcome
        assert "\n" not in outcome
    assert again == "done"
    for name in {"upsert_intel_item", "large batch", "transaction that was open", "delete_run"}:
        assert came[name].endswith("nothing was written"), came[name]
    assert all(name.partition(" ")[0] in came[name] for name in ("start_run", "decide", "checkpoint", "close"))
    assert not beside(path.parent, ".copy").exists()
    figure(f"{len(came)} calls told")


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_system_without_statx_tells_as_well(path: Path, tool: Callable[[str], str], error: str) -> None:
    """Linux has it since 4.11, and some containers may not call it."""
    tool("strace")
    fault = ("-e", "trace=statx", "-e", f"inject=statx:error={error}", "-o", "/dev/null")
    command = under_strace(movers.write_and_move, path, options=fault)
    ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT)
    before, moved, after, _ = ended.stdout.splitlines()
    assert (before, after) == ("done", "done")
    assert moved.startswith(TOLD)
    with StateStore(path) as store:
        assert item_ids(store) == ["a", "c"]


@pytest.mark.parametrize("move", [rename, rename_folder, remove_log])
def test_what_was_acknowledged_before_is_there_once_all_is_back(path: Path, move: Callable[[Path], None]) -> None:
    """A file that comes back with its log has everything; a log that was removed was checkpointed by closing."""
    with Peer(movers.write_in_every_way, str(path)) as peer:
        assert peer.hear() == "ready"
        move(path)
        peer.tell()
        peer.result()
    if move is rename:
        beside(path, ".old").rename(path)
    elif move is rename_folder:
        path.parent.with_name("elsewhere").rename(path.parent)
    with StateStore(path) as store:
        assert item_ids(store) == ["before"]
        assert sorted(run.run_id for run in store.list_runs()) == ["over", "run-1", "run-3", "stale"]
        assert_sound(store)


@pytest.mark.parametrize("what", ["", "-wal", "-shm", "folder"])
def test_every_thread_is_told_and_a_file_that_comes_back_is_written_again(
    tmp_path: Path, what: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Those who share a commit are all told, and what any of them was acknowledged is there."""
    threads, count = 6, 0
    for attempt in range(rounds(1, 10)):
        path = tmp_path / f"{attempt}" / "state.db"
        path.parent.mkdir()
        moved = path.parent if what == "folder" else beside(path, what)
        with Peer(movers.write_until_told, str(path), threads) as peer:
            assert peer.hear() == "ready"
            moved.rename(f"{moved}.moved")
            assert peer.hear() == "told"
            Path(f"{moved}.moved").rename(moved)
            peer.tell()
            came = peer.result()
        assert len(came["errors"]) == threads
        assert all(error.startswith(TOLD) for error in came["errors"]), came["errors"]
        plain = [error for error in came["errors"] if "upsert_intel_items_batch" in error]
        assert all(error.endswith("nothing was written") for error in plain)
        assert len(plain) == threads // 2
        with StateStore(path) as store:
            assert set(item_ids(store)) == set(came["acknowledged"])
            assert_sound(store)
        count += len(came["acknowledged"])
    figure(f"{count} acknowledged and all there")


@pytest.mark.parametrize("read_only", [False, True])
def test_readers_are_told_and_none_sees_another_file(path: Path, read_only: bool) -> None:
    """Connections that were open before would read the old file, and later ones the new."""
    with StateStore(beside(path, ".backup")) as store:
        store.start_run("new", "daily", {})
    with Peer(movers.read_until_told, str(path), 4, read_only) as peer:
        assert peer.hear() == "ready"
        restore(path)
        peer.tell()
        came = peer.result()
    assert set(came["seen"]) <= {"over", "run-1", "stale"}
    assert len(came["errors"]) == 4
    assert all(error.startswith(f"{TOLD}list_runs: another file") for error in came["errors"])
    assert came["close"].startswith("done" if read_only else TOLD)


def test_no_log_is_checkpointed_into_a_file_that_left_its_place(path: Path) -> None:
    """It may be in use where it is now, with a log of its own. The log stays as it is, and comes back with the file."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.checkpoint()
        put(store, *map(str, range(20)))
        rename(path)
        before = [beside(path, suffix).stat().st_size for suffix in (".old", "-wal")]
        with pytest.raises(FileMovedError, match=r"checkpoint: .*state\.db was moved"):
            store.checkpoint()
        with pytest.raises(FileMovedError, match="vacuum"):
            store.vacuum(full=True)
        assert [beside(path, suffix).stat().st_size for suffix in (".old", "-wal")] == before
        beside(path, ".old").rename(path)
        assert store.checkpoint().complete
        assert item_ids(store) == [*map(str, range(20))]


def test_a_restored_backup_is_not_mixed_with_the_log_of_the_file_before(path: Path) -> None:
    """SQLite reads any log of the right name. The one that was there is put aside, for whoever has its file."""
    with StateStore(path) as first:
        first.start_run("run-1", "daily", {})
        put(first, "in the backup")
        first.backup(beside(path, ".backup"))
    store = StateStore(path)
    put(store, *map(str, range(200)))
    path.rename(beside(path, ".old"))
    restore(path)
    with pytest.raises(FileMovedError, match=r"close: another file .*what was written last is in .*aside-1"):
        store.close()
    with StateStore(path) as restored:
        assert item_ids(restored) == ["in the backup"]
        assert_sound(restored)
        put(restored, "new")
    beside(path, "-wal.aside-1").rename(beside(path, ".old-wal"))
    with StateStore(beside(path, ".old")) as old:
        assert item_ids(old) == ["in the backup", *map(str, range(200))]
        assert_sound(old)


def test_the_log_of_a_file_that_was_moved_outlives_a_new_one_in_its_place(path: Path) -> None:
    """SQLite deletes a log that it finds beside a new file: the last that the old one was told to keep."""
    with Peer(movers.write_and_die, str(path)) as peer:
        assert peer.hear() == "ready"
        peer.kill()
        peer.process.wait()
    rename(path)
    for _ in range(2):
        with StateStore(path) as store:
            assert item_ids(store) == []
            store.start_run("run-1", "daily", {})
            path.unlink()
            beside(path, "-wal").unlink()
            with pytest.raises(FileMovedError):
                put(store, "gone")
            with pytest.raises(FileMovedError):
                store.close()
    beside(path, "-wal.aside-1").rename(beside(path, ".old-wal"))
    with StateStore(beside(path, ".old")) as old:
        assert item_ids(old) == ["before"]
        assert_sound(old)


def test_the_log_of_a_file_that_is_gone_is_put_aside_in_a_folder_that_is_locked(path: Path) -> None:
    """A job that `flock FOLDER COMMAND` starts runs with its folder locked, and used to wait for itself for good."""
    with Peer(movers.write_and_die, str(path)) as peer:
        assert peer.hear() == "ready"
        peer.kill()
        peer.process.wait()
    path.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with Peer(movers.recreate, str(path)) as other:
            assert other.hear() == "ready"
            other.tell()
            other.result()
    finally:
        os.close(folder)
    assert beside(path, "-wal.aside-1").stat().st_size > 0


def test_a_log_that_somebody_has_locked_is_not_waited_for_longer_than_for_the_store_nor_by_forks(path: Path) -> None:
    """Openings used to wait for it for good, deaf to Ctrl-C, and forks for them, holding the interpreter."""
    with Peer(movers.write_and_die, str(path)) as peer:
        assert peer.hear() == "ready"
        peer.kill()
        peer.process.wait()
    path.unlink()
    log = os.open(beside(path, "-wal"), os.O_RDONLY)
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        with Peer(movers.open_while_forking, str(path)) as other:
            came, forks = other.result()
    finally:
        os.close(log)
    assert came.startswith("StoreBusyError: "), came
    assert forks == "in time"
    assert not path.exists()
    in_process(movers.open_while_forking, str(path))
    assert beside(path, "-wal.aside-1").stat().st_size > 0


def test_another_process_that_made_a_new_file_has_it_for_itself(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        rename(path)
        with Peer(movers.recreate, str(path)) as other:
            assert other.hear() == "ready"
            with pytest.raises(FileMovedError, match="another file"):
                store.start_run("run-2", "daily", {})
            other.tell()
            other.result()
        with StateStore(path) as new:
            assert [run.run_id for run in new.list_runs()] == ["other"]
            assert_sound(new)
        with pytest.raises(FileMovedError):
            store.close()


def test_stores_opened_before_and_after_each_know_their_own_file(path: Path) -> None:
    old = StateStore(path)
    rename(path)
    with StateStore(path) as new:
        new.start_run("run-1", "daily", {})
        with pytest.raises(FileMovedError):
            old.start_run("run-1", "daily", {})
        put(new, "a")
        with pytest.raises(FileMovedError):
            old.close()
        put(new, "b")
    with StateStore(path) as new:
        assert item_ids(new) == ["a", "b"]
        assert_sound(new)


def test_close_closes_and_does_not_mask_what_ended_the_block(path: Path) -> None:
    with pytest.raises(FileMovedError, match="close"), StateStore(path) as store:
        path.unlink()
    store.close()
    assert repr(store).endswith("closed>")
    with pytest.raises(Boom) as caught, StateStore(path):  # noqa: PT012 - what the block does before it fails is the point
        path.unlink()
        raise Boom
    [note] = caught.value.__notes__
    assert "state.db was moved or removed" in note


def test_close_says_of_a_log_whether_it_is_there(path: Path) -> None:
    """Whoever is sent to look for a log that went with its folder looks in vain."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    rename(path)
    with pytest.raises(FileMovedError, match=r"may be in .*state\.db-wal, which belongs with it"):
        store.close()
    beside(path, ".old").rename(path)
    store = StateStore(path)
    store.start_run("run-2", "daily", {})
    rename_folder(path)
    with pytest.raises(FileMovedError, match=r"may be in its log, which was .*state\.db-wal and is not there"):
        store.close()


def test_a_child_does_not_open_a_file_that_came_after_the_fork(path: Path) -> None:
    make_backup(path)
    with Peer(movers.fork_beside_a_move, str(path)) as peer:
        assert peer.hear() == "ready"
        restore(path)
        peer.tell()
        write, read, child_close, parent_close = peer.result()
    assert all(each.startswith(TOLD) for each in (write, read, parent_close))
    assert child_close == "done", "the child had nothing open"
    with StateStore(path) as store:
        assert item_ids(store) == ["from the backup"]


def test_a_folder_that_lets_nobody_in_is_not_taken_for_a_move(public: Path) -> None:
    """A service that gives up its rights, once it has its files open, goes on."""
    path = public / "state" / "state.db"
    path.parent.mkdir()
    assert in_process(movers.write_with_the_folder_shut, str(path)) == ["done"]
    with StateStore(path) as store:
        assert item_ids(store) == ["before", "after"]


def test_a_symbolic_link_is_followed_once(path: Path) -> None:
    """It may be led elsewhere; the store's file is still where it was."""
    link = path.with_name("current.db")
    link.symlink_to(path.name)
    with StateStore(link) as store:
        store.start_run("run-1", "daily", {})
        link.unlink()
        link.symlink_to("other.db")
        put(store, "a")
    with StateStore(path) as store:
        assert item_ids(store) == ["a"]


def test_a_file_that_another_program_checkpoints_and_truncates_is_not_moved(path: Path) -> None:
    """Neither checkpoints, nor a rewrite, nor other stores that come and go take a file or its log from its place."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        for index in range(10):
            with StateStore(path) as other:
                put(other, f"other-{index}")
                other.checkpoint()
            put(store, f"{index}")
            store.checkpoint()
            store.vacuum(full=index % 2 == 0)
        store.upsert_intel_items_batch(make_item(f"{index}", summary="x" * 1000) for index in range(20_000))
        store.delete_run("run-1", force=True)
        store.vacuum()
        assert store.stats().runs == 0
