"""Wheels of this package, virtual environments, and what is installed into them, all without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from threading import Lock

from packaging.requirements import Requirement

from tests.helpers import ROOT

DISTRIBUTION = "orchestrator-state-store"
FINDER = "orchestrator_state_store_finder"
BUILD_TOOLS = ("editables", "hatchling", "setuptools", "wheel")
QUICK_BUILD = {
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
    "CARGO_TARGET_DIR": str(ROOT / "target" / "installing"),
}


def run(*command: str | Path, cwd: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """Run a program to its end, as a user whose environment says nothing to Python; return what it printed.

    Raises
    ------
    RuntimeError
        When it fails; it has all that the program said.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    inherited.pop("VIRTUAL_ENV", None)
    done = subprocess.run(command, cwd=cwd, env=inherited | (variables or {}), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def newer_pythons() -> list[str]:
    """Return the programs python3.X on PATH, newer than this one, that run and have pip."""
    found = []
    for minor in range(sys.version_info.minor + 1, sys.version_info.minor + 10):
        program = shutil.which(f"python3.{minor}")
        if program and not subprocess.run([program, "-c", "import pip"], capture_output=True).returncode:
            found.append(program)
    return found


def packed_wheel(folder: Path) -> Path:
    """Pack what `maturin develop` has built and installed into a wheel; the metadata are its own."""
    ours = metadata.distribution(DISTRIBUTION)
    described = {name: ours.read_text(name) or "" for name in ("METADATA", "WHEEL")}
    [tag] = re.findall(r"^Tag: (.+)$", described["WHEEL"], re.MULTILINE)
    name = f"orchestrator_state_store-{ours.version}"
    files = {path.relative_to(ROOT / "python").as_posix(): path for path in (ROOT / "python").rglob("*.*")}
    files |= {f"{name}.data/purelib/{path.name}": path for path in (ROOT / "startup" / "purelib").glob("*.*")}
    wanted = {arcname: path for arcname, path in files.items() if path.is_file() and path.suffix != ".pyc"}
    return write_wheel(folder / f"{name}-{tag}.whl", name, described, wanted)


def editable_wheel(folder: Path) -> Path:
    """Pack what `maturin develop` installs: the same, with a path file in place of the package."""
    packed = packed_wheel(folder / "whole")
    name, version, _ = packed.name.split("-", 2)
    with zipfile.ZipFile(packed) as whole:
        described = {each: whole.read(f"{name}-{version}.dist-info/{each}").decode() for each in ("METADATA", "WHEEL")}
    path_file = folder / f"{name}.pth"
    path_file.write_text(f"{ROOT / 'python'}\n")
    purelib = f"{name}-{version}.data/purelib"
    wanted = {f"{purelib}/{path.name}": path for path in (ROOT / "startup" / "purelib").glob("*.*")}
    return write_wheel(folder / packed.name, f"{name}-{version}", described, {path_file.name: path_file, **wanted})


def write_wheel(wheel: Path, name: str, described: dict[str, str], files: dict[str, Path]) -> Path:
    """Write a wheel with these files, the texts of its .dist-info, and its record."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}.dist-info/{each}": text for each, text in described.items()}
    record = f"{name}.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for arcname, path in files.items():
            archive.write(path, arcname)
        for arcname, text in texts.items():
            archive.writestr(arcname, text)
        archive.writestr(record, "".join(f"{arcname},,\n" for arcname in (*files, *texts, record)))
    return wheel


def built_wheel(python: str, folder: Path) -> Path:
    """Have maturin build a wheel for a Python, quickly: little is optimised, and what was built before is used."""
    maturin = Path(sys.executable).with_name("maturin")
    run(maturin, "build", "--release", "--offline", "-i", python, "-o", folder, cwd=ROOT, variables=QUICK_BUILD)
    [wheel] = folder.glob("*.whl")
    return wheel


def build_tools(folder: Path) -> Path:
    """Return a folder for PYTHONPATH that has the build tools of hosts, and what these need, but not this package."""
    wanted = list(BUILD_TOOLS)
    folder.mkdir()
    for name in wanted:
        found = metadata.distribution(name)
        needed = (Requirement(text) for text in found.requires or ())
        wanted += [
            each.name for each in needed if (not each.marker or each.marker.evaluate()) and each.name not in wanted
        ]
        for entry in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            link = folder / entry
            if not entry.endswith(".pth") and not link.is_symlink():
                link.symlink_to(str(found.locate_file(entry)))
    return folder


class Environment:
    """A virtual environment, and the Python that made it."""

    def __init__(self, folder: Path, base: str, tools: Path | None = None) -> None:
        self.folder = folder
        self.base = base
        self.tools = tools
        self.python = folder / "bin" / "python"
        if not folder.exists():
            run(base, "-m", "venv", "--without-pip", folder)

    @property
    def site_packages(self) -> Path:
        """Where packages are installed."""
        [found] = (self.folder / "lib").glob("python*/site-packages")
        return found

    def pip(self, *arguments: str | Path) -> str:
        """Run the pip of the Python that made it, without a network."""
        variables = {"PYTHONPATH": str(self.tools)} if self.tools else {}
        pip = (self.base, "-m", "pip", "--python", self.python, "--disable-pip-version-check")
        return run(*pip, *arguments, variables=variables)

    def install(self, *what: str | Path) -> None:
        """Install wheels and folders, with options of pip's."""
        self.pip("install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", *what)

    def copy(self, folder: Path) -> Environment:
        """Return another one with the same packages."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Environment(folder, self.base, self.tools)

    def run(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Run its Python, in its own folder unless told otherwise."""
        return run(self.python, *arguments, cwd=cwd or self.folder, variables=variables)

    def listing(self) -> set[str]:
        """Return all that is in it."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}


class Workshop:
    """Where wheels and environments are made, each once."""

    def __init__(self, folder: Path, full: bool) -> None:
        self.folder = folder
        self.full = full
        self.tools = build_tools(folder / "tools")
        self._lock = Lock()
        self._with_ours: dict[str, Environment] = {}

    def with_ours(self, python: str) -> Environment:
        """Return an environment that has this package and nothing else, to be copied."""
        with self._lock:
            if python not in self._with_ours:
                folder = self.folder / Path(python).name
                wheel = built_wheel(python, folder / "wheel") if self.full else packed_wheel(folder / "wheel")
                environment = Environment(folder / "environment", python, self.tools)
                environment.install(wheel)
                self._with_ours[python] = environment
            return self._with_ours[python]

    def wheel(self, python: str) -> Path:
        """Return the wheel that is in it."""
        [wheel] = (self.with_ours(python).folder.parent / "wheel").glob("*.whl")
        return wheel
