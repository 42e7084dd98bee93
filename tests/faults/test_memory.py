"""Memory runs out, for one allocation at a time: the call raises MemoryError or does its work, and nothing is lost.

Buffers that grow with data once aborted the process where they could not grow.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import in_process
from tests.programs import memory


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what makes allocations fail."""
    library = tmp_path_factory.mktemp("memory") / "memory.so"
    source = Path(__file__).with_name("memory.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    return library


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files that scenes are played with."""
    folder = tmp_path_factory.mktemp("scenes") / "files"
    folder.mkdir()
    in_process(memory.make, str(folder))
    return folder


@pytest.mark.parametrize("scene", memory.SCENES)
def test_an_allocation_that_fails_is_a_memory_error(
    scene: str,
    tool: Callable[[str], str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    """Rust's of 4 KiB or more, and each of SQLite's; with the store usable afterwards, and its file sound."""
    tool("cc")
    folder = request.getfixturevalue("files")
    monkeypatch.setenv("LD_PRELOAD", str(request.getfixturevalue("library")))
    told = []
    for which in ("rust", "sqlite"):
        played = in_process(memory.play, str(folder), scene, which, rounds(4, 300))
        assert played["wrong"] == []
        assert played["counts"] or played["allocations"] == 0
        told.append(f"{which} {played['allocations']} {played['counts']}")
    figure(f"{scene}: {', '.join(told)}")
