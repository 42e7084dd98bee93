"""A path is taken literally, and new files are for their owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import assert_sound, value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[None]:
    """Let the process hide no permission bit."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    "name",
    [
        "file:x?mode=memory",
        "file:x#y",
        "file:folder/x?mode=memory&cache=shared",
        "a b#c?d%20e",
        "x?mode=ro&immutable=1",
        "ünï😀",
        "'; DROP TABLE runs",
    ],
)
def test_name_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with StateStore(name) as store:
        store.start_run("run-1", "daily", {})
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / name]
    for read_only in (False, True):
        with StateStore(name, read_only=read_only) as store:
            assert value(store, "SELECT run_id FROM runs") == "run-1"


def test_new_files_can_be_read_by_their_owner_alone(path: Path, umask: None) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        modes = {entry.name: mode(entry) for entry in path.parent.iterdir()}
        assert {"state.db", "state.db-wal", "state.db-shm"} <= set(modes)
        assert set(modes.values()) == {0o600}
    assert mode(path) == 0o600


def test_file_mode_is_that_of_all_new_files(path: Path, umask: None) -> None:
    with StateStore(path, file_mode=0o640) as store:
        store.start_run("run-1", "daily", {})
        assert {mode(entry) for entry in path.parent.iterdir()} == {0o640}


def test_new_folders_are_their_owners_alone_and_others_are_left_as_they_are(tmp_path: Path, umask: None) -> None:
    tmp_path.chmod(0o755)
    StateStore(tmp_path / "a" / "b" / "state.db", file_mode=0o644).close()
    assert [mode(tmp_path / name) for name in (".", "a", "a/b")] == [0o755, 0o700, 0o700]
    (tmp_path / "a" / "b").chmod(0o750)
    StateStore(tmp_path / "a" / "b" / "other.db").close()
    assert mode(tmp_path / "a" / "b") == 0o750


def test_tilde_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    StateStore("~/state.db").close()
    assert (tmp_path / "~" / "state.db").is_file()


def test_existing_file_keeps_its_mode(path: Path, umask: None) -> None:
    StateStore(path).close()
    path.chmod(0o644)
    with StateStore(path, file_mode=0o600) as store:
        store.start_run("run-1", "daily", {})
        assert {mode(entry) for entry in path.parent.iterdir()} == {0o644}
    assert mode(path) == 0o644


def test_empty_file_becomes_a_store_and_keeps_its_mode(path: Path) -> None:
    path.touch()
    path.chmod(0o640)
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        assert_sound(store)
    assert mode(path) == 0o640
