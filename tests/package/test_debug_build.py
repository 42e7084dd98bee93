"""A debug build says that it is one: who times it, or ships it, finds out."""

from __future__ import annotations

import subprocess
import sys

from orchestrator.state_store import _core

NAME = "orchestrator.state_store._core"
AS_A_DEBUG_BUILD = f"""
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location({NAME!r}, {_core.__file__!r})
core = sys.modules[{NAME!r}] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
core.DEBUG_BUILD = True
"""
REPORT = """
sys.argv[1:] = []
try:
    runpy.run_module("orchestrator.state_store", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code
"""
REMEDY = "`maturin develop --release`"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)


def test_importing_one_warns_once_and_names_the_program() -> None:
    said = run(f"{AS_A_DEBUG_BUILD}\nimport orchestrator.state_store\nimport orchestrator.state_store.store").stderr
    assert said.startswith("<string>:8: RuntimeWarning: orchestrator.state_store is a debug build")
    assert said.count("RuntimeWarning") == 1
    assert REMEDY in said


def test_the_report_names_one() -> None:
    said = run(AS_A_DEBUG_BUILD + REPORT).stdout
    [line] = [line for line in said.splitlines() if line.startswith("debug build")]
    assert REMEDY in line
