"""A panic reaches Python as a BaseException, and leaves locks poisoned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers import ROOT

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
