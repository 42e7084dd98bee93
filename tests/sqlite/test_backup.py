"""StateStore.backup: a whole copy or none, and never over what someone needs."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    CorruptDatabaseError,
    InvalidTypeError,
    InvalidValueError,
    StateStore,
    StoreClosedError,
    TransactionError,
)

from tests.helpers import TIMEOUT, Boom, assert_sound, everything, item_ids, make_item, put

PAGE = 4096


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return where backups go: a folder of their own."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


def fill(store: StateStore) -> None:
    """Write more than is copied at a time."""
    store.upsert_intel_items_batch(make_item(f"{index}", summary="s" * 10_000) for index in range(1_000))


def left(dest: Path) -> list[str]:
    """Return the names of the files where backups go."""
    return sorted(entry.name for entry in dest.parent.iterdir())


def test_the_copy_is_the_store_in_one_file_of_its_owner(run_path: Path, dest: Path) -> None:
    with StateStore(run_path) as store:
        fill(store)
        store.write_telemetry("run-1", {"a": 1})
        store.backup(dest)
        expected = everything(store)
    assert left(dest) == ["copy.db"]
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    with StateStore(dest) as copy:
        assert everything(copy) == expected
        assert_sound(copy)
        put(copy, "the copy is a store like any other")


def test_a_store_that_is_only_read_can_be_backed_up(run_path: Path, dest: Path) -> None:
    with StateStore(run_path, read_only=True) as store:
        store.backup(dest)
        expected = everything(store)
    with StateStore(dest, read_only=True) as copy:
        assert everything(copy) == expected


def test_the_copy_has_the_mode_of_new_files(run_path: Path, dest: Path) -> None:
    with StateStore(run_path, file_mode=0o640) as store:
        store.backup(str(dest))
    assert stat.S_IMODE(dest.stat().st_mode) == 0o640


def test_progress_is_told_how_far_it_is_and_may_use_the_store(run_path: Path, dest: Path) -> None:
    with StateStore(run_path) as store:
        fill(store)
        told: list[tuple[int, int]] = []

        def progress(copied: int, total: int) -> None:
            told.append((copied, total))
            put(store, f"meanwhile-{len(told)}")

        store.backup(dest, progress=progress)
        assert item_ids(store)[-1] == f"meanwhile-{len(told)}"
    copied = [copied for copied, _ in told]
    assert len(told) > 1
    assert copied == sorted(copied)
    assert {total for _, total in told} == {copied[-1]}
    assert dest.stat().st_size == copied[-1] * PAGE
    with StateStore(dest) as copy:
        assert not [name for name in item_ids(copy) if name.startswith("meanwhile")]


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
def test_an_exception_of_progress_passes_on_and_leaves_nothing(
    run_path: Path, dest: Path, error: type[BaseException]
) -> None:
    def progress(_copied: int, _total: int) -> None:
        raise error

    with StateStore(run_path) as store:
        with pytest.raises(error):
            store.backup(dest, progress=progress)
        assert left(dest) == []
        put(store, "after")


def test_closing_the_store_ends_its_backup(run_path: Path, dest: Path) -> None:
    """close() waits until the backup has let go of the file, and the backup is told."""
    store = StateStore(run_path)
    fill(store)
    closing = threading.Thread(target=store.close)

    def progress(_copied: int, _total: int) -> None:
        if not closing.is_alive():
            closing.start()
        while not repr(store).endswith("closed>"):
            os.sched_yield()
        assert closing.is_alive()

    with pytest.raises(StoreClosedError, match=r"backup to .*copy\.db"):
        store.backup(dest, progress=progress)
    closing.join(TIMEOUT)
    assert left(dest) == []
    assert sorted(entry.name for entry in run_path.parent.iterdir()) == ["backups", run_path.name]


def test_a_file_is_replaced_only_when_told_so(run_path: Path, dest: Path) -> None:
    dest.write_text("precious")
    with StateStore(run_path) as store:
        with pytest.raises(CannotOpenError, match="overwrite=True"):
            store.backup(dest)
        assert dest.read_text() == "precious"
        store.backup(dest, overwrite=True)
    with StateStore(dest) as copy:
        assert_sound(copy)
    assert left(dest) == ["copy.db"]


def test_a_file_that_appears_meanwhile_is_not_replaced(run_path: Path, dest: Path) -> None:
    with StateStore(run_path) as store, pytest.raises(CannotOpenError, match="there is a file already"):
        store.backup(dest, progress=lambda _copied, _total: dest.write_text("precious"))
    assert dest.read_text() == "precious"
    assert left(dest) == ["copy.db"]


def test_a_link_is_followed(run_path: Path, dest: Path) -> None:
    dest.symlink_to("elsewhere.db")
    with StateStore(run_path) as store:
        store.backup(dest)
    assert dest.is_symlink()
    with StateStore(dest.parent / "elsewhere.db") as copy:
        assert_sound(copy)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_the_store_is_never_copied_onto_itself(run_path: Path, suffix: str, overwrite: bool) -> None:
    with StateStore(run_path) as store:
        put(store, "first")
        with pytest.raises(InvalidValueError, match="own file"):
            store.backup(f"{run_path}{suffix}", overwrite=overwrite)
        link = run_path.with_name("link.db")
        link.hardlink_to(run_path)
        with pytest.raises(InvalidValueError, match="own file"):
            store.backup(link, overwrite=overwrite)
        link.unlink()
        assert item_ids(store) == ["first"]


def test_a_database_that_is_open_is_never_replaced(run_path: Path, dest: Path) -> None:
    """What its log holds would be applied to the copy."""
    with StateStore(dest) as other, StateStore(run_path) as store:
        other.start_run("other", "daily", {})
        with pytest.raises(CannotOpenError, match=r"copy\.db-wal is there"):
            store.backup(dest, overwrite=True)
        assert other.connection.execute("SELECT run_id FROM runs").fetchall() == [("other",)]


def test_where_nothing_can_be_put_is_said_in_one_line(run_path: Path, dest: Path) -> None:
    with StateStore(run_path) as store:
        for place, message in ((dest.parent, "it is a folder"), (dest / "deeper", "No such file or directory")):
            with pytest.raises(CannotOpenError, match=message) as caught:
                store.backup(place, overwrite=True)
            assert str(place) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_inside_a_transaction_there_is_no_backup(run_path: Path, dest: Path) -> None:
    with StateStore(run_path) as store:
        with store.transaction(), pytest.raises(TransactionError, match="leave the transaction first"):
            store.backup(dest)
        assert left(dest) == []


def test_a_store_in_memory_has_no_backup(dest: Path) -> None:
    with StateStore(":memory:") as store, pytest.raises(InvalidValueError, match="in memory"):
        store.backup(dest)


WRONG: list[tuple[Callable[[StateStore, Path], None], str]] = [
    (lambda store, _: store.backup(1), "dest must be a str"),  # type: ignore[arg-type]
    (lambda store, dest: store.backup(dest, overwrite=1), "overwrite must be"),  # type: ignore[arg-type]
    (lambda store, dest: store.backup(dest, progress=1), "progress must be callable"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_named(
    run_path: Path, dest: Path, call: Callable[[StateStore, Path], None], message: str
) -> None:
    with StateStore(run_path) as store, pytest.raises(InvalidTypeError, match=message):
        call(store, dest)
    assert left(dest) == []


def test_a_damaged_store_gives_no_backup(run_path: Path, dest: Path) -> None:
    """The copy is checked before it is given its name, or replaces a good one."""
    with StateStore(run_path) as store:
        fill(store)
    dest.write_text("the last good one")
    with run_path.open("r+b") as file:
        file.seek(run_path.stat().st_size // 2 // PAGE * PAGE)
        file.write(b"\xff" * PAGE)
    with StateStore(run_path) as store, pytest.raises(CorruptDatabaseError, match="the copy is damaged"):
        store.backup(dest, overwrite=True)
    assert dest.read_text() == "the last good one"
    assert left(dest) == ["copy.db"]


def test_a_backup_that_was_looked_at_is_one_file_and_can_be_replaced(run_path: Path, dest: Path) -> None:
    """Readers of a database with a log leave one beside it, empty, which kept the next backup from its place."""
    with StateStore(run_path) as store:
        for number in range(3):
            put(store, f"{number}")
            store.backup(dest, overwrite=True)
            with StateStore(dest, read_only=True) as copy:
                assert item_ids(copy) == [f"{each}" for each in range(number + 1)]
                assert left(dest) == ["copy.db"]
        with StateStore(dest) as restored:
            put(restored, "a store like any other")
            assert "copy.db-wal" in left(dest)
        assert left(dest) == ["copy.db"]


@pytest.mark.parametrize("content", ["a store", "no database", None])
def test_an_empty_log_that_nobody_has_open_is_no_obstacle(run_path: Path, dest: Path, content: str | None) -> None:
    """Backups of earlier versions have one once they were looked at."""
    if content == "a store":
        with StateStore(dest) as store:
            store.start_run("other", "daily", {})
        with StateStore(dest, read_only=True) as reader:
            assert reader.get_run("other")
    elif content:
        dest.write_text(content)
    for suffix in ("-wal", "-shm"):
        dest.with_name(f"copy.db{suffix}").touch()
    with StateStore(run_path) as store:
        store.backup(dest, overwrite=True)
        expected = everything(store)
    assert left(dest) == ["copy.db"]
    with StateStore(dest, read_only=True) as copy:
        assert everything(copy) == expected


def test_a_database_that_is_only_being_read_is_not_replaced(run_path: Path, dest: Path) -> None:
    """Its log is empty, and is not anybody's leavings."""
    with StateStore(dest) as other:
        other.start_run("other", "daily", {})
    before = dest.read_bytes()
    with StateStore(dest, read_only=True) as other, StateStore(run_path) as store:
        assert other.get_run("other")
        assert dest.with_name("copy.db-wal").stat().st_size == 0
        with pytest.raises(CannotOpenError, match=r"copy\.db-wal is there"):
            store.backup(dest, overwrite=True)
        assert other.get_run("other")
    assert dest.read_bytes() == before
