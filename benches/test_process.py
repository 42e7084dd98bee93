"""A short-lived program: import, with what an orchestrator imports anyway, open a new file, write once, end."""

from __future__ import annotations

import compileall
import subprocess
import sys
from pathlib import Path

import orchestrator.state_store
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.paired_rows import PROGRAM
from benches.rivals import OURS, SQLITE3, tables
from benches.timing import timed

PROGRAMS = {
    OURS: PROGRAM,
    SQLITE3: f"""
import {rows.IMPORTED_ANYWAY}
from datetime import UTC, datetime
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for statement in {(*tables.pragmas("FULL"), "BEGIN IMMEDIATE", *tables.SCHEMA)!r}:
    connection.execute(statement)
connection.execute("COMMIT")
connection.execute({tables.INSERT_RUN!r}, ("run", datetime.now(UTC).isoformat()))
connection.close()
""",
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Have the bytecode that an installed package has, whatever PYTHONDONTWRITEBYTECODE says."""
    assert compileall.compile_dir(Path(orchestrator.state_store.__file__).parent, quiet=1)


@pytest.mark.benchmark(group=rows.PROCESS)
@pytest.mark.turns(11, 21)
@pytest.mark.contenders(*PROGRAMS)
def test_process(benchmark: BenchmarkFixture, folder: Path, source: str, turn: int, contender: str) -> None:
    command = [sys.executable, "-c", PROGRAMS[contender], str(folder / "bench.db")]
    assert timed(benchmark, subprocess.call, command) == 0
