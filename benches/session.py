"""Runs the benchmarks in a process of their own, by pytest-benchmark."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benches.results import Results

ROOT = Path(__file__).resolve().parents[1]


def measure(*arguments: str, tests: list[str] | None = None) -> Results:
    """Run these tests (all, if none are named) and return what they measured; end the program if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["-q", "--benchmark-disable-gc", "--benchmark-quiet", f"--benchmark-json={report}", *arguments]
        done = subprocess.run([sys.executable, "-m", "pytest", *options, *(tests or ["benches"])], cwd=ROOT)
        if done.returncode:
            raise SystemExit(done.returncode)
        return Results.load(report)
