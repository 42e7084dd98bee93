"""An opening that fails says why, in the system's words, and leaves nothing behind.

Each once said "unable to open database file", and left an empty file, or new folders, that the next one stumbled over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import CannotOpenError, StateStore

from tests import predecessor
from tests.helpers import ROOT, in_process, plain_sqlite
from tests.programs import openings, salvages

TOO_MANY = "CannotOpenError: Too many open files (os error 24)"
DENIED = "Permission denied (os error 13)"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that other users may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for each in folder.rglob("*"):
            each.chmod(0o755)


def test_too_few_descriptors_for_a_new_file(tmp_path: Path) -> None:
    told: list[Any] = in_process(openings.open_with_few_descriptors, str(tmp_path), "a/b/state.db")
    *failed, [last, _] = told
    assert len(failed) >= 3
    assert failed == [[TOO_MANY, []]] * len(failed)
    assert last == "opened"


def test_too_few_descriptors_for_a_file_that_is_there(tmp_path: Path) -> None:
    StateStore(tmp_path / "state.db").close()
    *failed, [last, _] = in_process(openings.open_with_few_descriptors, str(tmp_path), "state.db")
    assert len(failed) >= 2
    assert {came for came, _ in failed} == {TOO_MANY}
    assert last == "opened"
    with StateStore(tmp_path / "state.db") as store:
        assert store.check() == []


def test_no_room(tmp_path: Path) -> None:
    came, left = in_process(openings.open_with_no_room, str(tmp_path), "a/b/state.db")
    assert came.startswith(("DiskFullError: ", "StorageIOError: "))
    assert left == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/" + "x" * 256, "File name too long (os error 36)"),
        ("a/" + "x" * 248, "File name too long (os error 36)"),  # that of its journal
        ("a/" + "x" * 300 + "/state.db", "File name too long (os error 36)"),
        ("a/" * 250 + "state.db", r"the path has \d+ bytes, and SQLite takes 504 at most"),
        ("file/state.db", "Not a directory (os error 20)"),
        ("file/a/state.db", "Not a directory (os error 20)"),
    ],
    ids=["name", "journal", "folder", "path", "file", "file above"],
)
def test_names_that_no_file_can_have(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotOpenError, match=why.replace("(os", r"\(os").replace("6)", r"6\)").replace("0)", r"0\)")):
        StateStore(tmp_path / name)
    assert [each.name for each in tmp_path.rglob("*")] == ["file"]


def test_longest_path_of_a_new_file(tmp_path: Path) -> None:
    room = 504 - len(str(tmp_path)) - len("/state.db")
    deep = "".join("/" + "x" * 99 for _ in range(room // 100)) + "/" + "x" * (room % 100 - 1)
    path = Path(f"{tmp_path}{deep}/state.db")
    assert len(str(path)) == 504
    StateStore(path).close()
    longer = path.with_name("state2.db")
    with pytest.raises(CannotOpenError, match="the path has 505 bytes"):
        StateStore(longer)
    assert not longer.exists()


def test_memory_that_files_cannot_share_changes_no_file(tmp_path: Path, fault: Callable[[str], None]) -> None:
    # FUSE and 9p may be so. The file became one with a log, which nobody could open there: the predecessor neither.
    folder = tmp_path / "disk"
    folder.mkdir()
    new, old = folder / "a" / "new.db", folder / "old.db"
    plain_sqlite(old, *predecessor.file(indexes=True, journal="DELETE"))
    before = old.read_bytes()
    fault("no sharing")
    refused = "StorageIOError: disk I/O error; its -shm cannot be mapped into memory: "
    for told in in_process(openings.open_each, str(old), str(new)):
        assert told[0].startswith(refused)
    assert openings.entries(folder) == ["old.db"]
    assert old.read_bytes() == before
    fault("")
    assert in_process(openings.open_each, str(old), str(new)) == [["opened", "opened"]] * 2


def test_a_missing_file_that_is_only_to_be_read(tmp_path: Path) -> None:
    for name in ("state.db", "a/state.db"):
        with pytest.raises(CannotOpenError, match=r"No such file or directory \(os error 2\)"):
            StateStore(tmp_path / name, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_no_rights(folder: Path) -> None:
    for name in ("closed", "locked"):
        StateStore(folder / name / "state.db", file_mode=0o666).close()
    StateStore(folder / "others.db").close()
    (folder / "closed").chmod(0o555)
    (folder / "locked").chmod(0)
    (folder / "others.db").chmod(0)
    paths = [
        folder / name for name in ("closed/state.db", "closed/new.db", "closed/a/b.db", "locked/state.db", "others.db")
    ]
    denied = f"CannotOpenError: {DENIED}"
    absent = "CannotOpenError: No such file or directory (os error 2)"
    assert in_process(openings.open_without_rights, *map(str, paths)) == [
        [f"ReadOnlyError: FOLDER: {DENIED}", "opened"],
        [denied, absent],
        [denied, absent],
        [denied, denied],
        [denied, denied],
    ]
    assert sorted(each.name for each in (folder / "closed").iterdir()) == ["state.db"]


def test_log_without_its_index_where_none_can_be_made(folder: Path) -> None:
    path, dest, others = folder / "closed" / "state.db", folder / "open" / "salvaged.db", folder / "others.db"
    path.parent.mkdir()
    in_process(salvages.write_and_vanish, str(path))
    path.with_name("state.db-shm").unlink()
    for each in path.parent.iterdir():
        each.chmod(0o666)
    path.parent.chmod(0o555)
    denied = f"CannotOpenError: FOLDER: {DENIED}"
    assert in_process(openings.open_without_rights, str(path)) == [[denied, denied]]
    dest.parent.mkdir()
    dest.parent.chmod(0o777)
    StateStore(others).close()
    others.chmod(0)
    program = openings.salvage_without_rights
    assert in_process(program, str(dest), str(path), str(others)) == ["10", f"CannotOpenError: {DENIED}"]
    path.with_name("state.db-wal").chmod(0)
    [came] = in_process(program, str(dest), str(path))
    lost = f"what is in its log (-wal or -journal) alone is lost, which cannot be read: {DENIED}"
    assert came == f"ForeignDatabaseError: no table of a store can be found in it; {lost}"
    assert [each.name for each in dest.parent.iterdir()] == []


def test_a_file_system_that_is_only_read(tmp_path: Path, tool: Callable[[str], str]) -> None:
    StateStore(tmp_path / "state.db").close()
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    paths = [str(tmp_path / name) for name in ("state.db", "new.db", "a/state.db")]
    program = [sys.executable, "-m", "tests.programs", openings.__name__, "open_each", json.dumps(paths)]
    came = subprocess.run(
        [tool("unshare"), "-rm", "sh", "-c", mount, "-", tmp_path, *program],
        check=True,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    why = "Read-only file system (os error 30)"
    absent = "CannotOpenError: No such file or directory (os error 2)"
    assert json.loads(came.stdout) == [
        [f"CannotOpenError: {why}", "opened"],
        [f"CannotOpenError: {why}", absent],
        [f"CannotOpenError: {why}", absent],
    ]
