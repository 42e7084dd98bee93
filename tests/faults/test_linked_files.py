"""One file with two names (hard links): each name has a log of its own.

Two processes that wrote by a name each used to lose half of what they were acknowledged.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import CannotOpenError, FileLinkedWarning, StateStore

from tests.helpers import ROOT, Peer, assert_sound, folder_bytes, in_process, item_ids, put
from tests.programs import movers


def link(path: Path) -> Path:
    other = path.with_name("other.db")
    other.hardlink_to(path)
    return other


def test_a_file_with_two_names_is_refused_and_the_remedy_is_a_remedy(run_path: Path) -> None:
    other = link(run_path)
    before = folder_bytes(run_path.parent)
    for name in (run_path, other):
        with pytest.raises(CannotOpenError, match=r"2 names \(hard links\)") as caught:
            StateStore(name)
    assert folder_bytes(run_path.parent) == before
    remedy = re.search(r"cp .* && mv .*", str(caught.value))
    assert remedy is not None
    subprocess.run(remedy[0], shell=True, check=True)
    with StateStore(run_path) as first, StateStore(other) as second:
        put(first, "first")
        put(second, "second")
    for name, item in ((run_path, "first"), (other, "second")):
        with StateStore(name) as store:
            assert item_ids(store) == [item]
            assert_sound(store)


def test_a_file_whose_other_name_is_gone_is_opened(run_path: Path) -> None:
    link(run_path).unlink()
    with StateStore(run_path) as store:
        assert store.stats().hard_links == 1


def test_no_second_process_writes_by_another_name(path: Path) -> None:
    with Peer(movers.write_beside_a_new_name, str(path), "always") as peer:
        assert peer.hear() == "ready"
        [refused] = in_process(movers.open_and_tell, str(link(path)), False)
        assert refused.startswith("CannotOpenError: open ")
        peer.tell()
        came = peer.result()
    with pytest.warns(FileLinkedWarning) as warned:
        store = StateStore(path, read_only=True)
    assert [each.filename for each in warned] == [__file__], "whoever opens it is shown"
    with store:
        assert item_ids(store) == ["before", *came["acknowledged"]]
        assert_sound(store)


def test_reading_by_another_name_is_warned_of(path: Path) -> None:
    """It does not see what is in the log of the first."""
    StateStore(path).close()
    with Peer(movers.write_and_die, str(path)) as peer:
        assert peer.hear() == "ready"
        other = link(path)
        _, warned = in_process(movers.open_and_tell, str(other), True)
        assert warned.startswith(f"FileLinkedWarning: {other} has several names (hard links)")
        peer.tell()
        peer.result()
    assert in_process(movers.open_and_tell, str(other), True)[0] == "before"


@pytest.mark.parametrize("action", ["always", "error"])
def test_a_name_made_later_warns_once_and_stops_nobody(path: Path, action: str, figure: Callable[[str], None]) -> None:
    """The call that notices is right to succeed: the next one warns, and has done nothing where that is an error."""
    with Peer(movers.write_beside_a_new_name, str(path), action) as peer:
        assert peer.hear() == "ready"
        other = link(path)
        peer.tell()
        came = peer.result()
    other.unlink()
    [[index, kind, message]] = came["warned"]
    assert (index, kind) == (1, "FileLinkedWarning")
    assert str(path) in message
    done = [f"after-{index}" for index in range(5) if action == "always" or index != 1]
    assert came["acknowledged"] == done
    with StateStore(path) as store:
        assert item_ids(store) == ["before", *done]
    assert came["names"] == 2
    [[kind, message]] = came["findings"]
    assert kind == "hard_link"
    assert "2 names" in message
    figure("warned once")


def test_the_last_call_of_all_is_warned_of_by_close(path: Path) -> None:
    with Peer(movers.close_beside_a_new_name, str(path)) as peer:
        assert peer.hear() == "ready"
        link(path)
        peer.tell()
        kind, after = peer.result()
    assert kind == "FileLinkedWarning"
    assert after.startswith("StoreClosedError")


def test_a_store_in_memory_has_no_name() -> None:
    with StateStore(":memory:") as store:
        assert store.stats().hard_links == 0
        assert store.check() == []


def test_a_file_that_is_mounted_by_itself_is_warned_of(
    run_path: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """As a container is given one: its log is in the container, and goes with it."""
    inside = tmp_path / "inside.db"
    inside.touch()
    mount = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    command = [sys.executable, "-m", "tests.programs", "tests.programs.movers", "open_and_tell"]
    came = subprocess.run(
        [tool("unshare"), "-rm", "sh", "-c", mount, "-", run_path, inside, *command, json.dumps([str(inside), False])],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert f"FileLinkedWarning: {inside} is mounted as a single file" in came.stdout
