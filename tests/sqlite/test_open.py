"""Opening a store on a file: folders, names, links, options, and two stores on one file."""

from __future__ import annotations

import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    StateStore,
)

from tests.helpers import (
    assert_sound,
    folder_bytes,
    in_threads,
    item_ids,
    make_item,
    value,
)


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("synchronous", "OFF"),
        ("synchronous", "EXTRA"),
        ("synchronous", ""),
        ("synchronous", None),
        ("synchronous", 2),
        ("busy_timeout", -1),
        ("busy_timeout", -0.001),
        ("busy_timeout", float("nan")),
        ("busy_timeout", "30"),
        ("busy_timeout", None),
        ("pool_size", 0),
        ("pool_size", -1),
        ("pool_size", 65),
        ("pool_size", 2**70),
        ("pool_size", "4"),
        ("pool_size", 1.5),
        ("read_only", "no"),
        ("read_only", None),
        ("file_mode", -1),
        ("file_mode", 0o10000),
        ("file_mode", 2**70),
        ("file_mode", "600"),
        ("file_mode", None),
        ("no_such_option", True),
    ],
)
def test_wrong_option_is_refused_by_name_and_creates_nothing(tmp_path: Path, option: str, wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=option):
        StateStore(tmp_path / "new" / "state.db", **{option: wrong})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [None, 5, 1.5, b"state.db", object(), ["state.db"]], ids=type)
def test_path_of_another_type_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError):
        StateStore(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"synchronous": "NORMAL"},
        {"synchronous": "FULL", "busy_timeout": 0},
        {"busy_timeout": 0.5, "pool_size": 1},
        {"pool_size": 64, "file_mode": 0o640},
        {"busy_timeout": 10**6},
    ],
    ids=repr,
)
def test_options_at_their_bounds(path: Path, options: dict[str, Any]) -> None:
    with StateStore(path, **options) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        assert in_threads([lambda: item_ids(store)] * 4) == [["item-1"]] * 4


@pytest.mark.parametrize("kind", [str, Path])
def test_parents_are_created_for_str_and_path(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "a" / "b" / "state.db"
    with StateStore(kind(path)) as store:
        assert isinstance(store.db_path, Path)
        assert store.db_path == path
    assert path.is_file()


def test_symbolic_link_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, link = tmp_path / "real" / "state.db", tmp_path / "link.db"
    StateStore(path).close()
    link.symlink_to(path)
    with StateStore(link) as one, StateStore(path) as other:
        one.start_run("run-1", "daily", {})
        other.upsert_intel_item(make_item())
        assert item_ids(one) == ["item-1"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"real", "link.db"}


def test_symbolic_link_to_nothing_has_its_target_created(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(Path("data") / "state.db")
    with StateStore(link) as store:
        store.start_run("run-1", "daily", {})
        assert {entry.name for entry in tmp_path.iterdir()} == {"link.db", "data"}
    with StateStore(tmp_path / "data" / "state.db") as store:
        assert value(store, "SELECT run_id FROM runs") == "run-1"
    assert link.is_symlink()


def test_symbolic_link_to_itself_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("link.db")
    with pytest.raises(CannotOpenError, match=r"link\.db"):
        StateStore(tmp_path / "link.db")


def test_relative_path_stays_with_its_file_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with StateStore("state.db", pool_size=4) as store:
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        barrier = threading.Barrier(8)

        def read() -> list[str]:
            barrier.wait()
            return item_ids(store)

        assert in_threads([read] * 8) == [["item-1"]] * 8
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with StateStore(tmp_path / "state.db") as store:
        assert item_ids(store) == ["item-1"]


def test_opening_and_closing_leaves_one_file(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
    assert [entry.name for entry in path.parent.iterdir()] == ["state.db"]


@pytest.mark.parametrize("read_only", [False, True])
def test_folder_is_refused_by_name(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(CannotOpenError, match=str(tmp_path)):
        StateStore(tmp_path, read_only=read_only)
    assert list(tmp_path.iterdir()) == []


def test_file_as_a_parent_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CannotOpenError, match="file"):
        StateStore(tmp_path / "file" / "sub" / "state.db")
    assert folder_bytes(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("read_only", [False, True])
def test_path_with_a_newline_is_named_on_one_line(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "two\nlines.db"
    path.mkdir()
    with pytest.raises(CannotOpenError, match="lines") as caught:
        StateStore(path, read_only=read_only)
    assert "\n" not in str(caught.value)


def test_path_that_nobody_can_create_is_refused_by_name() -> None:
    with pytest.raises(CannotOpenError, match="/proc/nowhere"):
        StateStore("/proc/nowhere/state.db")


@pytest.mark.parametrize("name", ["a\0b", "", "x" * 300], ids=["NUL", "empty", "too long"])
def test_impossible_name_is_refused_and_creates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((CannotOpenError, ValueError)):
        StateStore(name)
    assert list(tmp_path.iterdir()) == []


def test_two_stores_on_one_file_see_each_other(path: Path) -> None:
    with StateStore(path) as one, StateStore(str(path)) as other:
        one.start_run("run-1", "daily", {})
        other.upsert_intel_item(make_item("a"))
        one.upsert_intel_item(make_item("b"))
        assert item_ids(other) == item_ids(one) == ["a", "b"]
    with StateStore(path) as store:
        assert item_ids(store) == ["a", "b"]


def test_closing_one_of_two_stores_loses_nothing_of_the_other(path: Path) -> None:
    with StateStore(path) as one:
        one.start_run("run-1", "daily", {})
        for index in range(20):
            with StateStore(path) as other:
                other.upsert_intel_item(make_item(f"other-{index:02}"))
            one.upsert_intel_item(make_item(f"one-{index:02}"))
    with StateStore(path) as store:
        assert len(item_ids(store)) == 40
        assert_sound(store)


def test_repr_says_path_and_state(path: Path) -> None:
    store = StateStore(path)
    assert str(path) in repr(store)
    assert "open" in repr(store)
    store.close()
    assert str(path) in repr(store)
    assert "closed" in repr(store)
    with StateStore(path, read_only=True) as store:
        assert "read-only" in repr(store)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_store_cannot_be_pickled_or_copied(store: StateStore, duplicate: Any) -> None:
    with pytest.raises(TypeError, match="each process"):
        duplicate(store)
    store.upsert_intel_item(make_item())
    assert item_ids(store) == ["item-1"]


def test_one_that_could_not_be_opened_can_be_shown_and_closed(tmp_path: Path) -> None:
    """Whoever logs it, or closes it in a `finally`, once got an AttributeError in the place of the first error."""

    class Careful(StateStore):
        def __init__(self, path: Path) -> None:
            try:
                super().__init__(path, read_only=True)
            finally:
                shown.append(self)

    shown: list[StateStore] = []
    with pytest.raises(CannotOpenError):
        Careful(tmp_path / "state.db")
    for store in (*shown, StateStore.__new__(StateStore)):
        assert repr(store) == "<StateStore not opened>"
        store.close()
        with pytest.raises(ZeroDivisionError), store:
            raise ZeroDivisionError
        with pytest.raises(TypeError, match=r"^<StateStore not opened> cannot be pickled"):
            pickle.dumps(store)
