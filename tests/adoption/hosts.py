"""Programs that have a package `orchestrator` of their own, as our users have, and the ways to install them."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from tests.adoption.installing import FINDER, Environment

INITS = {
    "empty": "",
    "importing": """
        from orchestrator import settings
        from .pipeline.steps import STEPS
        from .state_store import StateStore
    """,
    "extend_path": '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n',
}
"""What a host's `orchestrator/__init__.py` says."""

WAYS = ("folder", "plain", "default", "strict", "compat", "hatch")
"""How a host is run from its folder, or installed."""

SETUPTOOLS = """
    [build-system]
    requires = ["setuptools"]
    build-backend = "setuptools.build_meta"
    [project]
    name = "host"
    version = "1.0"
    [tool.setuptools.package-data]
    orchestrator = ["defaults.json"]
    [tool.setuptools.packages.find]
    where = ["SOURCE"]
    include = ["orchestrator*"]
"""
HATCH = """
    [build-system]
    requires = ["hatchling"]
    build-backend = "hatchling.build"
    [project]
    name = "host"
    version = "1.0"
    [tool.hatch.build.targets.wheel]
    packages = ["SOURCE/orchestrator"]
"""
OLD_MODULE = "class StateStore:\n    old = True\n"

WITHOUT_THE_FINDER = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__module__", "") != "{FINDER}"]
"""
PROBE = """
import json
from orchestrator.state_store import StateStore
import orchestrator, orchestrator.settings, orchestrator.pipeline.steps
import orchestrator.state_store as store_module
import orchestrator.state_store._core as core
with StateStore(":memory:") as store:
    store.start_run("run-1", "daily", {})
    runs = [run.run_id for run in store.list_runs()]
print(json.dumps({
    "host": orchestrator.__file__, "settings": orchestrator.settings.NAME, "steps": orchestrator.pipeline.steps.STEPS,
    "store": store_module.__file__, "core": core.__file__, "class": StateStore.__init__.__module__, "runs": runs,
}))
"""


class Host:
    """A host in a folder of its own."""

    def __init__(self, folder: Path, init: str, way: str = "folder", source: str = ".") -> None:
        self.folder = folder
        self.way = way
        self.source = folder / source
        self._write("pyproject.toml", (HATCH if way == "hatch" else SETUPTOOLS).replace("SOURCE", source))
        self._write(f"{source}/orchestrator/__init__.py", INITS[init])
        self._write(f"{source}/orchestrator/settings.py", 'NAME = "host"\n')
        self._write(f"{source}/orchestrator/defaults.json", "{}\n")
        self._write(f"{source}/orchestrator/pipeline/__init__.py", "")
        self._write(f"{source}/orchestrator/pipeline/steps.py", 'STEPS = ["fetch"]\n')
        self._write(f"{source}/main.py", PROBE)
        self._write(f"{source}/without.py", WITHOUT_THE_FINDER + PROBE)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def leave_old_module(self) -> Path:
        """Leave the old `state_store.py` where it was."""
        old = self.source / "orchestrator" / "state_store.py"
        old.write_text(OLD_MODULE)
        return old

    def install(self, environment: Environment) -> None:
        """Install it by its way; one that is run from its folder is not."""
        modes = {"default": [], "strict": ["editable_mode=strict"], "compat": ["editable_mode=compat"], "hatch": []}
        if self.way == "plain":
            environment.install(self.folder)
        elif self.way in modes:
            settings = [word for mode in modes[self.way] for word in ("--config-settings", mode)]
            environment.install(*settings, "--editable", self.folder)

    def command(self, program: str) -> tuple[list[str | Path], Path | None]:
        """Return how one of its programs is started: what Python is told, and in which folder."""
        if self.way == "folder":
            return [f"{program}.py"], self.source
        return ["-c", (self.source / f"{program}.py").read_text()], None

    def probe(self, environment: Environment, program: str = "main") -> dict[str, Any]:
        """Run a program that imports the host's modules and ours, and return what it found."""
        arguments, cwd = self.command(program)
        found: dict[str, Any] = json.loads(environment.run(*arguments, cwd=cwd))
        return found
