"""`db_path` and `dest`: paths, and the URLs that mean one. What each URL means is tested in `src/model/location.rs`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import InvalidValueError, StateStore, StateStoreError

from tests.helpers import Boom, value


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///state.db", "state.db"),
        ("sqlite:///new/folder/a%20b.db", "new/folder/a%20b.db"),
        ("file:state.db", "state.db"),
        ("file:new/a%20b.db", "new/a b.db"),
    ],
)
def test_url_of_a_file_means_the_file(tmp_path: Path, url: str, path: str) -> None:
    with StateStore(url) as store:
        assert store.db_path == Path(path)
        assert repr(store) == f"<StateStore {path!r}, open>"
        store.start_run("run-1", "daily", {})
    assert files(tmp_path) == [path]
    with StateStore(tmp_path / path, read_only=True) as store:
        assert value(store, "SELECT run_id FROM runs") == "run-1"


@pytest.mark.parametrize("prefix", ["sqlite:///", "file:", "file://", "file://localhost"])
def test_url_from_the_root(tmp_path: Path, prefix: str) -> None:
    with StateStore(f"{prefix}{tmp_path}/state.db") as store:
        assert store.db_path == tmp_path / "state.db"
    assert files(tmp_path) == ["state.db"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "file::memory:"])
def test_url_of_memory(tmp_path: Path, url: str) -> None:
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        assert store.db_path == Path(":memory:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:secret@host/db",
        "postgresql+psycopg://me:secret@host/db",
        "redis://localhost",
        "http://host/state.db",
        "sqlite+aiosqlite:///state.db",
        "sqlite://host/state.db",
        "sqlite:///state.db?timeout=5",
        "sqlite:/state.db",
        str(Path("postgresql://user@host/state")),
        "file://host/state.db",
        "file:",
        "file:///state.db?mode=ro",
        "jdbc:postgresql://me:secret@host/db",
        ' "postgresql://me:secret@host/db"',
    ],
)
def test_any_other_url_is_refused_by_name(tmp_path: Path, url: str) -> None:
    """As a path it was a folder `postgresql:`, and the program believed that its data was in the database."""
    with pytest.raises(InvalidValueError, match=r"^db_path: .*") as caught:
        StateStore(url)
    message = str(caught.value)
    assert url.partition(":")[0].strip(' "') in message
    assert "secret" not in message
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, StateStoreError)
    with StateStore(":memory:") as store, pytest.raises(InvalidValueError, match=r"^dest: "):
        store.backup(url)
    assert list(tmp_path.iterdir()) == []


class PathLike(os.PathLike[str]):
    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


class Fails(os.PathLike[str]):
    def __fspath__(self) -> str:
        raise Boom


def test_what_fspath_raises_passes() -> None:
    """It was told as a value of the wrong type, and what was wrong was nowhere to be seen."""
    with pytest.raises(Boom):
        StateStore(Fails())


@pytest.mark.parametrize("name", ["\ud800.db", "sqlite:///\ud800.db"])
def test_surrogate_is_refused_as_what_it_is(tmp_path: Path, name: str) -> None:
    """The message was "must be a str, not str"."""
    with pytest.raises(InvalidValueError, match=r"^db_path has a surrogate in it"):
        StateStore(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///state.db", "postgresql://host/db", "file:state.db"])
@pytest.mark.parametrize("kind", [Path, PathLike])
def test_path_is_never_a_url(tmp_path: Path, url: str, kind: Callable[[str], os.PathLike[str]]) -> None:
    with StateStore(kind(url)) as store:
        assert store.db_path == Path(url)
    assert files(tmp_path) == [Path(url).as_posix()]


@pytest.mark.parametrize("name", ["run:1.db", "./http:/x", "sqlite:state.db", "file:x?mode=memory"])
def test_what_is_no_url_is_a_path(tmp_path: Path, name: str) -> None:
    StateStore(name).close()
    assert files(tmp_path) == [Path(name).as_posix()]


def test_name_that_is_no_unicode_is_kept_in_a_url(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.db")
    for url in (f"sqlite:///{name}", "file:%FF.db", f"file:{name}"):
        with StateStore(url) as store:
            assert store.db_path == Path(name)
    assert files(tmp_path) == [name]


def test_backup_takes_urls(tmp_path: Path) -> None:
    with StateStore("sqlite:///state.db") as store:
        store.start_run("run-1", "daily", {})
        store.backup("sqlite:///monday.db")
        store.backup(f"file://{tmp_path}/tues%64ay.db")
        for memory in (":memory:", "sqlite://"):
            with pytest.raises(InvalidValueError, match=r"^dest: a copy in memory"):
                store.backup(memory)
    assert files(tmp_path) == ["monday.db", "state.db", "tuesday.db"]
