"""A panic reaches Python as a BaseException, and leaves locks poisoned; that of a worker thread reaches nobody."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import ROOT, in_process
from tests.programs import panics

SOURCES = sorted((ROOT / "src").rglob("*.rs"))
PANICS = re.compile(r"\.(unwrap|expect)\(|\b(panic|unreachable|todo|unimplemented|assert|assert_eq|assert_ne)!")


def shipped(source: Path) -> str:
    """Return what of a file is not tests nor comments."""
    text, _, _ = source.read_text(encoding="utf-8").partition("#[cfg(test)]\n")
    return re.sub(r"//.*", "", text)


def test_the_linter_refuses_what_panics() -> None:
    """`make lint` makes an error of each warning."""
    lints = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["lints"]["clippy"]
    assert {lints[name] for name in ("unwrap_used", "expect_used", "panic")} == {"warn"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_nothing_that_is_shipped_panics_on_purpose(source: Path) -> None:
    """Nor is a lint switched off, nor a lock taken whose poison could be met."""
    text = shipped(source)
    assert PANICS.findall(text) == []
    assert not re.search(r"(allow|expect)\(clippy::(unwrap_used|expect_used|panic)", text)
    if source.name != "sync.rs":
        assert ".lock()" not in text


def test_panics_unwind() -> None:
    """A worker thread that panics is noticed where it is caught; an abort would take the program with it."""
    profiles = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["profile"]
    assert profiles["release"]["panic"] == "unwind"


@pytest.mark.parametrize("look", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("thread", panics.WORKS)
def test_a_worker_thread_that_panics_is_noticed(
    path: Path, fault: Callable[[str], None], thread: str, look: int
) -> None:
    """No call goes on beside it, or waits for it; closing and opening again is the remedy."""
    fault("")
    outcome = in_process(panics.play, str(path), thread, look)
    if outcome["panicked"][1] is None:
        assert (look, outcome["own"]) > (1, None), "it has ended before that look"
        return
    assert outcome["panicked"] == [None, thread, None]
    said = f"the worker thread {thread} panicked"
    for name, told in outcome["calls"].items():
        assert told is not None, name
        assert told[0] == "StateStoreError"
        assert said in told[1]
        assert told[1].endswith("this call has written nothing since; close the store, and open it again")
    assert outcome["took"] < 1, "a call has waited for the thread"
    assert outcome["locked"] is None, "another store cannot write to the file"
    assert outcome["written by the calls"] == []
    assert outcome["before"] == 1000
    if thread != "checkpointer":
        assert outcome["own"] is not None
        assert said in outcome["own"][1]
    if thread == "batch-writer":
        assert outcome["own"][0] == "CommitOutcomeUnknownError"
        assert outcome["many"] in (0, 3000)
