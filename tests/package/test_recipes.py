"""docs/recipes.md is true: each of its blocks runs, in a process of its own, one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT, TIMEOUT


def test_the_recipes_run(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    blocks: list[tuple[str, str]] = re.findall(r"^```(python|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    # Those in Python are one program.
    program = "".join(block for language, block in blocks if language == "python")
    commands = [["bash", "-euo", "pipefail", "-c", block] for language, block in blocks if language == "sh"]
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shown = ""
    for command in [[sys.executable, "-c", program], *commands]:
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, (command, done.stderr)
        shown += done.stdout
    assert re.search(r"Finding 2 +72\n.*Finding 1 +71\n", shown), shown
    assert '"title": "Finding 0"}]' in shown
    assert re.search(r"promote +│ +1 +│ +70", shown), shown
