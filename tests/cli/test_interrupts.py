"""Ctrl-C ends each verb with 130: what was done is whole, and running it again goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.cli.conftest import PROGRAM
from tests.helpers import TIMEOUT, make_item

READY = """
import sys
from orchestrator.state_store._cli.program import cli
make_context = cli.make_context
def said(*args, **options):
    print("ready", file=sys.stderr, flush=True)
    return make_context(*args, **options)
cli.make_context = said
"""
"""Says when the verb begins: what comes before is Python's own start."""

RUNS, ITEMS = 20, 500


@pytest.fixture
def path(tmp_path: Path, large: Path) -> Path:
    """Return a store of the test's own that takes a while to go through."""
    return Path(shutil.copy(large, tmp_path / "state.db"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make such a store, to copy."""
    path = tmp_path_factory.mktemp("large") / "state.db"
    with StateStore(path, synchronous="NORMAL") as store:
        for number in range(RUNS):
            run_id = f"run-{number:02}"
            store.start_run(run_id, "daily", {})
            store.upsert_intel_items_batch(make_item(f"{run_id}/{n}", run_id, summary="s" * 2000) for n in range(ITEMS))
            store.finish_run(run_id, "completed")
        store.start_run("running", "daily", {})
    return path


def interrupted(path: Path, words: list[str], after: float) -> tuple[int, str]:
    """Run a verb, and interrupt it after so many seconds, if it is not done; return its status, and what it said."""
    process = subprocess.Popen(
        [sys.executable, "-c", READY + PROGRAM, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path.parent,
        env={**os.environ, "ORCHESTRATOR_STATE_DB": str(path)},
    )
    assert process.stderr
    assert process.stderr.readline() == "ready\n"
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT)
    return process.returncode, said


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.mark.parametrize(
    "words",
    [["runs", "tail"], ["runs", "tail", "running"], ["sql", ENDLESS], ["sql", ENDLESS, "--limit", "0"]],
    ids=" ".join,
)
def test_what_would_go_on_for_ever_ends(path: Path, words: list[str]) -> None:
    status, said = interrupted(path, words, 0.5)
    assert status == 130
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "--keep-last", "0", "--yes"],
        ["check"],
        ["vacuum", "--full"],
        ["backup", "copy.db"],
        ["salvage", "copy.db"],
        ["items", "ls", "--limit", "0"],
        ["items", "ls", "--best", "scores_json.total"],
        ["runs", "diff", "run-00", "run-01"],
    ],
    ids=" ".join,
)
def test_work_that_was_interrupted_is_whole_and_goes_on(path: Path, words: list[str]) -> None:
    statuses = []
    for after in (0.0, 0.02, 0.1):
        status, said = interrupted(path, words, after)
        statuses.append(status)
        assert status in (0, 130), said
        assert "Traceback" not in said
        assert sorted(path.parent.glob("*.partial*")) == []
        copy = path.parent / "copy.db"
        # Ctrl-C may come when the copy has its name already.
        assert copy.exists() or status == 130 or "copy.db" not in words
        if copy.exists():
            with StateStore(copy, read_only=True) as store:
                assert store.count_runs() == RUNS + 1
                assert store.count_intel_items() == RUNS * ITEMS
        copy.unlink(missing_ok=True)
        with StateStore(path) as store:
            assert store.check() == []
            assert store.count_intel_items() % ITEMS == 0
    assert 130 in statuses, "nothing was interrupted"
    assert interrupted(path, words, TIMEOUT)[0] == 0
