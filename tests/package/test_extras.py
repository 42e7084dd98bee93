"""Each verb needs no package beyond those that the extra `cli` names: tests have many more installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._cli.program import cli
from packaging.requirements import Requirement

from tests.browsing import fill
from tests.helpers import ROOT, TIMEOUT
from tools.cli_reference import verbs_of

ARGUMENTS = {
    "runs show": ["daily-0"],
    "runs diff": ["daily-1"],
    "runs tail": ["daily-0"],
    "runs recover": ["--older-than", "9w"],
    "runs delete": ["daily-2", "--force", "--yes"],
    "items show": ["daily-0/00"],
    "items decide": ["daily-0/00", "promote"],
    "backup": ["backup.db"],
    "salvage": ["salvaged.db"],
    "prune": ["--keep-last", "9", "--yes"],
    "copy": ["copied.db"],
    "sql": ["SELECT 1"],
    "report": ["daily-0"],
    "completion": ["bash"],
}
WITHOUT = {"page"}
"""It ends by Ctrl-C alone."""


def required(name: str, extras: set[str]) -> dict[str, metadata.Distribution]:
    """Return the distributions that one needs, and those that they need."""
    found: dict[str, metadata.Distribution] = {}
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            found[requirement.name] = metadata.distribution(requirement.name)
            found |= required(requirement.name, requirement.extras)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages of the extra."""
    folder = tmp_path_factory.mktemp("site")
    for distribution in required("orchestrator-state-store", {"cli"}).values():
        for top in {file.parts[0] for file in distribution.files or []} - {".."}:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))
    return folder


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Return the path of a store of the test's own."""
    path = tmp_path / "state.db"
    with StateStore(path, synchronous="NORMAL") as store:
        fill(store)
    return path


def run(site: Path, filled: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the standard library and these packages alone."""
    path = f"{ROOT / 'python'}{os.pathsep}{site}"
    return subprocess.run(
        [sys.executable, "-S", "-m", "orchestrator.state_store", *words],
        cwd=filled.parent,
        env={"PYTHONPATH": path, "ORCHESTRATOR_STATE_DB": str(filled), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def test_each_verb(site: Path, filled: Path) -> None:
    for words in {words for words, _ in verbs_of(cli, [])} - WITHOUT:
        done = run(site, filled, *words.split(), *ARGUMENTS.get(words, []))
        assert done.returncode == 0, (words, done.stderr)


def test_the_page_is_imported(site: Path, filled: Path) -> None:
    command = "import orchestrator.state_store._page as page; print(page.serve)"
    path = f"{ROOT / 'python'}{os.pathsep}{site}"
    shown = subprocess.check_output([sys.executable, "-S", "-c", command], env={"PYTHONPATH": path}, text=True)
    assert "serve" in shown
    alone = [sys.executable, "-S", "-m", "orchestrator.state_store", "stats"]
    done = subprocess.run(alone, env={"PYTHONPATH": str(ROOT / "python")}, capture_output=True, text=True)
    assert done.returncode == 2, "what the test rests on"
    assert "it needs the extra `cli`" in done.stderr
