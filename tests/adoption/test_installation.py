"""What the wheel brings, takes away again, and does not serve."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.adoption.hosts import Host
from tests.adoption.installing import DISTRIBUTION, FINDER, Environment, Workshop, run
from tests.helpers import ROOT

HOOK = {f"{FINDER}.py", f"{FINDER}.pth", f"{FINDER}.start"}


def test_maturin_develop_brings_the_hook() -> None:
    """`make` and `pip install -e` install this way."""
    installed = {file.as_posix() for file in metadata.files(DISTRIBUTION) or ()}
    assert installed >= HOOK
    purelib = Path(sysconfig.get_path("purelib"))
    for name in HOOK:
        assert (purelib / name).read_bytes() == (ROOT / "startup" / "purelib" / name).read_bytes()


def test_wheel_brings_the_hook(workshop: Workshop) -> None:
    with zipfile.ZipFile(workshop.wheel(sys.executable)) as wheel:
        top = {name.partition(".data/purelib/")[2] for name in wheel.namelist() if ".data/" in name}
        assert top == HOOK
        assert "orchestrator/state_store/__main__.py" in wheel.namelist()
        assert "orchestrator/state_store.txt" in wheel.namelist()
        assert "orchestrator/__init__.py" not in wheel.namelist()


def test_sdist_brings_the_hook(tmp_path: Path) -> None:
    run(Path(sys.executable).with_name("maturin"), "sdist", "--out", tmp_path, cwd=ROOT)
    [sdist] = tmp_path.iterdir()
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"startup/purelib/{name}" for name in HOOK} == {name for name in names if name.startswith("startup/")}
    assert {"pyproject.toml", ".cargo/config.toml", "src/lib.rs", "python/orchestrator/state_store.txt"} <= names
    assert {"python/orchestrator/state_store/py.typed", "LICENSE-MIT", "README.md"} <= names


def test_uninstalling_leaves_nothing(ours: Environment, workshop: Workshop, tmp_path: Path) -> None:
    """Not even what Python compiled meanwhile, nor the folder, which would hide a host that a finder finds."""
    environment = Environment(tmp_path / "environment", ours.base)
    (environment.site_packages / "bystander.py").touch()
    before = environment.listing()
    environment.install(workshop.wheel(ours.base))
    environment.run("-m", "orchestrator.state_store")
    environment.run("-c", "import orchestrator.state_store as s; [getattr(s, name) for name in s.__all__]")
    assert environment.listing() > before
    environment.pip("uninstall", "--yes", "--quiet", DISTRIBUTION)
    assert environment.listing() == before
    assert environment.run("-c", f"import sys; print('{FINDER}' in sys.modules)") == "False\n"


@pytest.mark.parametrize("order", [("host", DISTRIBUTION), (DISTRIBUTION, "host")], ids=repr)
def test_uninstalling_one_keeps_the_other(environment: Environment, tmp_path: Path, order: tuple[str, str]) -> None:
    """A host that is installed plainly is in the same folder."""
    (environment.site_packages / "bystander.py").touch()
    alone = environment.listing()
    host = Host(tmp_path / "host", "empty", "plain")
    host.install(environment)
    host.probe(environment)
    environment.pip("uninstall", "--yes", "--quiet", order[0])
    kept = "orchestrator.settings" if order[0] == DISTRIBUTION else "orchestrator.state_store"
    assert environment.run("-c", f"import {kept}; print({kept}.__name__)") == f"{kept}\n"
    if order[0] == "host":
        assert environment.listing() >= alone
    environment.pip("uninstall", "--yes", "--quiet", order[1])
    assert not (environment.site_packages / "orchestrator").exists()


def test_user_installation(workshop: Workshop, tmp_path: Path) -> None:
    """`pip install --user`: the hook is in the user's site-packages, which `-I` and `-s` leave out."""
    base = getattr(sys, "_base_executable", sys.executable)
    user = {"PYTHONUSERBASE": str(tmp_path), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    pip = (sys.executable, "-m", "pip", "--python", base, "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--user", "--no-index", "--no-deps", workshop.wheel(sys.executable), variables=user)
    host = Host(tmp_path / "host", "importing")
    found = json.loads(run(base, "main.py", cwd=host.source, variables=user))
    assert Path(found["store"]).is_relative_to(tmp_path)
    assert Path(found["host"]).is_relative_to(host.folder)
    for option in ("-I", "-s"):
        assert run(base, option, "-c", f"import sys; print('{FINDER}' in sys.modules)", variables=user) == "False\n"


@pytest.fixture(scope="module")
def target(ours: Environment, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install with `--target`, as for Lambda layers and zipapps."""
    folder = tmp_path_factory.mktemp("target")
    ours.pip("install", "--quiet", "--no-index", "--no-deps", "--target", folder, workshop.wheel(ours.base))
    return folder


class TestNotServed:
    """Where Python runs no start-up hook a host adds one line; the migration page has it."""

    def test_line_is_the_one_in_the_guide(self, tmp_path: Path) -> None:
        guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
        host = Host(tmp_path, "extend_path")
        assert (host.source / "orchestrator" / "__init__.py").read_text().strip() in guide

    @pytest.mark.parametrize("options", [[], ["-S"]], ids=["site", "no site"])
    def test_folder_on_the_path(self, ours: Environment, target: Path, tmp_path: Path, options: list[str]) -> None:
        bare = Environment(tmp_path / "bare", ours.base)
        host = Host(tmp_path / "host", "extend_path")
        found = json.loads(bare.run(*options, "main.py", cwd=host.source, PYTHONPATH=str(target)))
        assert Path(found["store"]).is_relative_to(target)
        assert Path(found["host"]).is_relative_to(host.folder)
        without_the_line = Host(tmp_path / "other", "empty")
        with pytest.raises(RuntimeError, match=r"No module named 'orchestrator\.state_store'"):
            bare.run(*options, "main.py", cwd=without_the_line.source, PYTHONPATH=str(target))

    def test_environment_without_site(self, ours: Environment, tmp_path: Path) -> None:
        """`python -S`, the packages' folder given by PYTHONPATH."""
        host = Host(tmp_path / "host", "extend_path")
        found = json.loads(ours.run("-S", "main.py", cwd=host.source, PYTHONPATH=str(ours.site_packages)))
        assert found["class"] == "orchestrator.state_store.store"

    def test_zipapp_beside_a_folder(self, ours: Environment, target: Path, tmp_path: Path) -> None:
        """The extension module cannot be in the archive; the rest of the program may."""
        host = Host(tmp_path / "host", "extend_path")
        (host.source / "main.py").rename(host.source / "__main__.py")
        subprocess.run([ours.python, "-m", "zipapp", host.source, "-o", tmp_path / "app.pyz"], check=True)
        bare = Environment(tmp_path / "bare", ours.base)
        found = json.loads(bare.run(tmp_path / "app.pyz", PYTHONPATH=str(target)))
        assert found["settings"] == "host"
