"""Build a manylinux2014 wheel for each CPython >= 3.11 on PATH, check each, and try it in a fresh environment.

zig links against the symbols of glibc 2.17 wherever this runs, so that no old container is needed; auditwheel
says whether a wheel asks for more. It overlooks functions that glibc 2.17 has not at all: those have no version then,
and a system without them cannot import the wheel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "dist" / "wheels"
PLATFORM = "manylinux_2_17_x86_64"
TRIED = """
import sys
from orchestrator.state_store import StateStore
with StateStore(sys.argv[1]) as store:
    store.start_run("run-1", "wheel", {})
    item = {"item_id": "item-1", "run_id": "run-1", "item_type": "wheel", "title": "A wheel", "summary": ""}
    store.upsert_intel_item(item)
    assert [item["title"] for item in store.list_intel_items()] == ["A wheel"]
"""


def interpreters() -> list[str]:
    """Return the programs python3.X on PATH, from 3.11 on, that run."""
    found = filter(None, (shutil.which(f"python3.{minor}") for minor in range(11, 20)))
    return [program for program in found if not subprocess.run([program, "-c", ""], capture_output=True).returncode]


def check(wheel: Path) -> None:
    """Fail unless auditwheel gives the wheel the platform that its name promises."""
    shown = subprocess.run(["auditwheel", "show", wheel], capture_output=True, text=True, check=True).stdout
    if PLATFORM not in shown:
        sys.exit(f"{wheel.name} is not for {PLATFORM}: {shown}")
    if missing := [name for name in unversioned(wheel) if not name.startswith(("Py", "_Py"))]:
        sys.exit(f"{wheel.name} needs what glibc 2.17 has not: {', '.join(missing)}")


def unversioned(wheel: Path) -> list[str]:
    """Return what the extension cannot be loaded without and expects of no certain version of a library."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        [extension] = [name for name in archive.namelist() if name.endswith(".so")]
        command = ["readelf", "--dyn-syms", "--wide", archive.extract(extension, folder)]
        symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"GLOBAL +DEFAULT +UND (\w+)$", symbols, re.MULTILINE)


def install_and_try(program: str, wheel: Path) -> None:
    """Install the wheel alone into an environment of its Python, and write and read with it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "-m", "venv", f"{folder}/venv"], check=True)
        python = f"{folder}/venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", wheel], check=True)
        subprocess.run([python, "-I", "-c", TRIED, f"{folder}/state.db"], check=True)


def main() -> None:
    """Build all wheels in one run of maturin, then check and try each."""
    programs = interpreters()
    if not programs:
        sys.exit("no python3.X of 3.11 or newer on PATH")
    shutil.rmtree(OUT, ignore_errors=True)
    command = ["maturin", "build", "--release", "--locked", "--zig", "--compatibility", "manylinux2014"]
    subprocess.run([*command, "--out", OUT, "--interpreter", *programs], cwd=ROOT, check=True)
    for program in programs:
        tag = f"cp{Path(program).name.removeprefix('python').replace('.', '')}"
        [wheel] = OUT.glob(f"*-{tag}-*.whl")
        check(wheel)
        install_and_try(program, wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {PLATFORM}, written and read in {program}")


if __name__ == "__main__":
    main()
