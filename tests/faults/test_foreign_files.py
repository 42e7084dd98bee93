"""A file that is not a store is refused, and left as it is, with its log and its journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import ForeignDatabaseError, NotADatabaseError, SchemaTooNewError, StateStore

from tests.helpers import TIMEOUT, Peer, folder_bytes, plain_sqlite
from tests.programs import plain


def assert_untouched(path: Path, before: dict[str, bytes], read_only: bool) -> None:
    """Check that a file is as it was. Who may not write cannot remove the empty -wal and -shm of a look into a WAL."""
    after = folder_bytes(path.parent)
    if read_only:
        assert after[path.name] == before[path.name]
        assert not after.get(f"{path.name}-wal")
    else:
        assert after == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "content",
    [b"x", b"hello, world\n" * 1000, b"\0" * 100_000, b"SQLite format 3\0" + b"\xff" * 8000, b"SQLite format 3\0"],
    ids=["one byte", "text", "zeros", "header alone", "header cut off"],
)
def test_file_that_is_no_database_is_left_byte_for_byte(path: Path, content: bytes, read_only: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(NotADatabaseError, match=r"state\.db"):
        StateStore(path, read_only=read_only)
    assert folder_bytes(path.parent) == {"state.db": content}


FOREIGN = {
    "other tables": ["CREATE TABLE notes (x)", "INSERT INTO notes VALUES (1)"],
    "a table runs of its own": ["CREATE TABLE runs (id INTEGER PRIMARY KEY, distance REAL)"],
    "its own user_version": ["CREATE TABLE notes (x)", "PRAGMA user_version = 1"],
    "a view alone": ["CREATE VIEW v AS SELECT 1"],
    "in WAL mode": ["PRAGMA journal_mode = WAL", "CREATE TABLE notes (x)"],
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_database_of_another_program_is_left_byte_for_byte(path: Path, kind: str, read_only: bool) -> None:
    plain_sqlite(path, *FOREIGN[kind])
    before = folder_bytes(path.parent)
    with pytest.raises(ForeignDatabaseError, match=r"state\.db"):
        StateStore(path, read_only=read_only)
    assert_untouched(path, before, read_only)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("through", ["its name", "a link"])
def test_log_of_another_programs_database_is_left_as_it_is(tmp_path: Path, through: str, read_only: bool) -> None:
    """A crash has left it: whoever closes the file last would checkpoint the log into it, and delete it."""
    path, link = tmp_path / "real" / "state.db", tmp_path / "link.db"
    path.parent.mkdir()
    link.symlink_to(path)
    plain_sqlite(path, *FOREIGN["in WAL mode"])
    with Peer(plain.run_and_die, str(path), ["INSERT INTO notes VALUES (2)"]) as peer:
        assert peer.hear() == "ready"
        assert peer.process.wait(TIMEOUT) == 0
    before = folder_bytes(path.parent)
    assert before["state.db-wal"]
    with pytest.raises(ForeignDatabaseError):
        StateStore(link if through == "a link" else path, read_only=read_only)
    after = folder_bytes(path.parent)
    assert {name: after[name] for name in ("state.db", "state.db-wal")} == {
        name: before[name] for name in ("state.db", "state.db-wal")
    }
    assert plain_sqlite(path, "SELECT x FROM notes") == [[2]]


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("version", [999, 2**31 - 1])
def test_newer_schema_is_refused_untouched(path: Path, version: int, read_only: bool) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
    plain_sqlite(path, f"PRAGMA user_version = {version}")
    before = folder_bytes(path.parent)
    with pytest.raises(SchemaTooNewError, match=r"state\.db"):
        StateStore(path, read_only=read_only)
    assert_untouched(path, before, read_only)
