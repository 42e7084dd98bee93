"""What is no regular file: a FIFO that is waited for without end, a device that takes whatever is written."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import in_process, item_ids, put
from tests.programs import irregular


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_device(path: Path) -> None:
    """Make a device of its own where that is allowed: a store that failed here would replace it."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:
        path.symlink_to("/dev/full")


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a socket": bind,
    "a device": make_device,
    "a folder": Path.mkdir,
}


def kept(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is in a folder: each file, and what kind of file it is."""
    return {entry.name: (entry.lstat().st_ino, entry.lstat().st_mode) for entry in folder.iterdir()}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_refused_at_once_and_left_alone(tmp_path: Path, kind: str, suffix: str, read_only: bool) -> None:
    path = tmp_path / "s.db"
    if suffix:
        StateStore(path).close()
    KINDS[kind](tmp_path / f"s.db{suffix}")
    before = kept(tmp_path)
    said = in_process(irregular.open_at, str(path), read_only)
    assert said.startswith("CannotOpenError: open ")
    what = "a folder" if kind == "a folder" else "no regular file, but a FIFO, a socket or a device"
    assert said.endswith(f"{path}{suffix} is {what}" if suffix else f"it is {what}")
    assert kept(tmp_path) == before


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_does_not_replace_it(run_path: Path, tmp_path: Path, kind: str, suffix: str) -> None:
    with StateStore(run_path) as store:
        put(store, "item")
    folder = tmp_path / "backups"
    folder.mkdir()
    KINDS[kind](folder / f"copy.db{suffix}")
    before = kept(folder)
    said = in_process(irregular.back_up_to, str(run_path), str(folder / "copy.db"))
    assert said.startswith("CannotOpenError: backup to ")
    assert " is " in said
    assert kept(folder) == before
    with StateStore(run_path) as store:
        assert item_ids(store) == ["item"]
