"""mypy finds the types of the store, and those of the host, in a program that has both."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.adoption.hosts import Host
from tests.adoption.installing import Environment, run

USE = """
from orchestrator.settings import NAME
from orchestrator.state_store import StateStore

reveal_type(StateStore(":memory:").get_run("run-1"))
reveal_type(NAME)
"""


@pytest.mark.parametrize(("way", "init"), [("folder", "importing"), ("plain", "empty"), ("compat", "extend_path")])
def test_mypy_finds_both(environment: Environment, tmp_path: Path, way: str, init: str) -> None:
    host = Host(tmp_path / "host", init, way)
    (host.source / "orchestrator" / "py.typed").touch()
    host.install(environment)
    folder = host.source if way == "folder" else tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    (folder / "use.py").write_text(USE)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}")
    said = run(*mypy, "--python-executable", environment.python, "use.py", cwd=folder)
    revealed = re.findall(r'Revealed type is "(.+)"', said)
    assert revealed == ["orchestrator.state_store.records.run.RunRecord | None", "str"]
