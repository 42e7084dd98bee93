"""The finder runs at each start of Python: it finds two names, and changes nothing else."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adoption.hosts import WITHOUT_THE_FINDER, Host
from tests.adoption.installing import FINDER, Environment, Workshop, editable_wheel

MODULES = "import sys; print(*sorted(sys.modules))"
ACTIVE = f"import sys; print([finder.__module__ for finder in sys.meta_path].count('{FINDER}'))"


def answer(environment: Environment, program: str, *options: str, cwd: Path | None = None, **variables: str) -> Any:
    """Run a program that prints JSON."""
    return json.loads(environment.run(*options, "-c", program, cwd=cwd, **variables))


def refusal(environment: Environment, program: str, cwd: Path) -> str:
    """Run a program that fails; return the last line of its traceback."""
    with pytest.raises(RuntimeError) as caught:
        environment.run("-c", program, cwd=cwd)
    return str(caught.value).strip().splitlines()[-1]


class TestStartUp:
    def test_it_loads_one_module(self, ours: Environment, tmp_path: Path) -> None:
        """What a start-up hook imports, every program in the environment pays for."""
        bare = Environment(tmp_path / "bare", ours.base)
        (bare.site_packages / "any.pth").write_text("# from 3.13 on, Python loads a codec to read any\n")
        assert set(ours.run("-c", MODULES).split()) - set(bare.run("-c", MODULES).split()) == {FINDER}

    @pytest.mark.parametrize("options", [[], ["-I"], ["-E"], ["-s"], ["-P"], ["-OO"], ["-X", "utf8"]], ids=" ".join)
    def test_it_is_active_once(self, ours: Environment, options: list[str]) -> None:
        assert ours.run(*options, "-c", ACTIVE) == "1\n"

    def test_it_is_not_active_without_site(self, ours: Environment) -> None:
        assert ours.run("-S", "-c", ACTIVE) == "0\n"

    @pytest.mark.parametrize(
        "again",
        [
            f"import {FINDER}; {FINDER}.install()",
            f"import {FINDER}, importlib; importlib.reload({FINDER}); {FINDER}.install()",
            "import site; site.main()",
            "import site, sysconfig; site.addsitedir(sysconfig.get_path('purelib'))",
        ],
    )
    def test_it_is_put_first_once_however_often_it_is_asked_to(self, ours: Environment, again: str) -> None:
        assert ours.run("-c", f"{again}\n{ACTIVE}") == "1\n"

    def test_it_goes_on_when_its_module_is_reloaded(self, ours: Environment) -> None:
        """The `Finder` that is asked is the old one; it looked for the new one among the others, and found no host."""
        program = f"""
import importlib.machinery, importlib.util, sys, {FINDER}
importlib.reload({FINDER})
class Host:
    def find_spec(name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, Host, origin="host") if name == "orchestrator" else None
sys.meta_path.append(Host)
print(importlib.util.find_spec("orchestrator").origin)
"""
        assert ours.run("-c", program) == "host\n"

    def test_nothing_that_is_wrong_with_the_path_raises(self, ours: Environment) -> None:
        """A hook that raises prints a traceback at each start of each program."""
        program = f"import sys, {FINDER}; sys.meta_path = None; {FINDER}.install()"
        assert ours.run("-c", program) == ""

    def test_entry_point_of_later_pythons_leads_to_the_same(self, ours: Environment) -> None:
        """Python 3.15 reads `.start` files (PEP 829) and then skips the import lines of the `.pth` beside them."""
        [line] = (ours.site_packages / f"{FINDER}.start").read_text().splitlines()
        program = f"import pkgutil, {FINDER}; print(pkgutil.resolve_name('{line}') is {FINDER}.install)"
        assert ours.run("-c", program) == "True\n"
        hook = (ours.site_packages / f"{FINDER}.pth").read_text()
        assert hook == f"import {FINDER}; {FINDER}.install()\n"


class TestWithoutAHost:
    def test_orchestrator_is_a_namespace(self, ours: Environment, tmp_path: Path) -> None:
        """Several distributions may add `orchestrator.*`, none with an `__init__.py`; also while a program runs."""
        folders = [tmp_path / name for name in ("one", "two", "later")]
        for folder in folders:
            (folder / "orchestrator").mkdir(parents=True)
            (folder / "orchestrator" / f"{folder.name}.py").write_text("NAME = __name__\n")
        program = f"""
import json, sys, pkgutil, importlib
import orchestrator.one, orchestrator.two, orchestrator.state_store
sys.path.append({str(folders[2])!r})
import orchestrator.later
print(json.dumps([
    [module.name for module in pkgutil.iter_modules(orchestrator.__path__)], type(orchestrator.__path__).__name__,
    getattr(orchestrator, "__file__", None), importlib.reload(orchestrator.one).NAME,
]))
"""
        found = answer(ours, program, PYTHONPATH=f"{folders[0]}:{folders[1]}")
        assert found == [["one", "two", "state_store", "later"], "_NamespacePath", None, "orchestrator.one"]

    def test_other_imports_fail_as_they_did(self, ours: Environment, tmp_path: Path) -> None:
        for name in ("no_such_module", "orchestrator.no_such_module", "orchestrator.state_store.no_such_module"):
            assert refusal(ours, f"import {name}", tmp_path).startswith(
                f"ModuleNotFoundError: No module named '{name}'"
            )

    def test_environment_inside_is_not_touched(self, ours: Environment, tmp_path: Path) -> None:
        inner = Environment(tmp_path / "inner", str(ours.python))
        assert inner.run("-c", ACTIVE) == "0\n"
        assert FINDER not in inner.run("-c", MODULES)


class TestInAHost:
    def test_tools_of_the_import_system_see_host_and_store(self, ours: Environment, host: Host) -> None:
        program = """
import importlib, importlib.metadata, importlib.resources, importlib.util, json, pkgutil
import orchestrator, orchestrator.state_store, orchestrator.settings
from orchestrator.state_store import _core as core
importlib.invalidate_caches()
again = importlib.reload(orchestrator), importlib.reload(orchestrator.state_store)
print(json.dumps({
    "modules": sorted(module.name for module in pkgutil.iter_modules(orchestrator.__path__)),
    "data": importlib.resources.files("orchestrator").joinpath("defaults.json").read_text().strip(),
    "typed": importlib.resources.files("orchestrator.state_store").joinpath("py.typed").is_file(),
    "version": importlib.metadata.version("orchestrator-state-store") == orchestrator.state_store.__version__,
    "same": again == (orchestrator, orchestrator.state_store),
    "below": importlib.util.find_spec(core.__name__).origin == core.__file__,
    "parent": orchestrator.state_store.__spec__.parent,
}))
"""
        assert answer(ours, program, cwd=host.source) == {
            "modules": ["pipeline", "settings"],
            "data": "{}",
            "typed": True,
            "version": True,
            "same": True,
            "below": True,
            "parent": "orchestrator.state_store",
        }

    def test_modules_are_run(self, ours: Environment, host: Host) -> None:
        (host.source / "orchestrator" / "__main__.py").write_text("print(__package__)\n")
        assert ours.run("-m", "orchestrator", cwd=host.source) == "orchestrator\n"
        assert ours.run("-m", "orchestrator.settings", cwd=host.source) == ""
        assert ours.run("-m", "orchestrator.state_store", cwd=host.source).startswith("orchestrator.state_store ")

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_processes_get_what_is_pickled(self, ours: Environment, host: Host, method: str) -> None:
        program = f"""
import multiprocessing
from orchestrator.state_store import RunRecord, StateStore
import orchestrator.settings

def work(run, path):
    with StateStore(path) as store:
        store.start_run(run.run_id + orchestrator.settings.NAME, run.run_type, {{}})

if __name__ == "__main__":
    process = multiprocessing.get_context({method!r}).Process(
        target=work, args=(RunRecord("of-", "daily", "", "running", {{}}), "state.db")
    )
    process.start()
    process.join()
    with StateStore("state.db") as store:
        print(process.exitcode, store.list_runs()[0].run_id)
"""
        (host.source / "work.py").write_text(program)
        assert ours.run("work.py", cwd=host.source) == "0 of-host\n"

    def test_what_was_pickled_elsewhere_is_read(self, ours: Environment, host: Host) -> None:
        from orchestrator.state_store import RunRecord

        run = RunRecord("run-1", "daily", "now", "running", {"limit": 10})
        (host.source / "run.pickle").write_bytes(pickle.dumps(run))
        program = "import pickle; print(pickle.load(open('run.pickle', 'rb')))"
        assert ours.run("-c", program, cwd=host.source).strip() == repr(run)

    @pytest.mark.parametrize("way", ["folder", "default", "plain"])
    def test_editable_installation_of_ours(self, workshop: Workshop, tmp_path: Path, way: str) -> None:
        """Whoever works on this package has it installed by a path file, the finder beside that."""
        environment = Environment(tmp_path / "environment", sys.executable, workshop.tools)
        environment.install(editable_wheel(tmp_path / "wheel"))
        host = Host(tmp_path / "host", "importing", way)
        host.install(environment)
        found = host.probe(environment)
        assert Path(found["host"]).is_relative_to(host.folder) == (way != "plain")
        from orchestrator import state_store

        assert found["store"] == state_store.__file__


class TestBesideOtherFinders:
    def test_first_one_that_has_more_than_a_namespace_wins(self, ours: Environment, tmp_path: Path) -> None:
        """A module that is made up in memory has no file, and is the host's all the same."""
        program = """
import importlib.abc, importlib.machinery, sys
class Made(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name == "orchestrator" else None
    def exec_module(self, module):
        module.made = True
sys.meta_path.insert(PLACE, Made())
import orchestrator, orchestrator.state_store
print(orchestrator.made)
"""
        for place in ("0", "1", "len(sys.meta_path)"):
            assert ours.run("-c", program.replace("PLACE", place), cwd=tmp_path) == "True\n"

    def test_finder_that_forbids_is_obeyed(self, ours: Environment, host: Host) -> None:
        program = """
import sys
class Forbids:
    def find_spec(self, name, path=None, target=None):
        if name == "orchestrator":
            raise ImportError("not here")
sys.meta_path.insert(PLACE, Forbids())
import orchestrator
"""
        for place in ("0", "1"):
            assert refusal(ours, program.replace("PLACE", place), host.source) == "ImportError: not here"

    def test_finder_that_asks_all_others_is_asked_once(self, ours: Environment, host: Host) -> None:
        """Tracers and lazy importers wrap what the others find; two that ask each other must not go round."""
        program = """
import importlib.util, sys
class Asks:
    def __init__(self):
        self.asking = False
    def find_spec(self, name, path=None, target=None):
        if self.asking:
            return None
        self.asking = True
        try:
            return importlib.util.find_spec(name)
        finally:
            self.asking = False
sys.meta_path.insert(PLACE, Asks())
from orchestrator.state_store import StateStore
import orchestrator.settings
print(orchestrator.settings.NAME)
"""
        for place in ("0", "1", "len(sys.meta_path)"):
            assert ours.run("-c", program.replace("PLACE", place), cwd=host.source) == "host\n"

    def test_what_is_no_finder_is_passed_over(self, ours: Environment, host: Host) -> None:
        program = """
import sys, types
sys.meta_path[1:1] = [types.SimpleNamespace(find_module=lambda name, path=None: None)]
sys.path[1:1] = [None, 5, b"bytes", "/no/such/folder", "no.zip"]
from orchestrator.state_store import StateStore
import orchestrator.settings
print(orchestrator.settings.NAME)
"""
        assert ours.run("-c", program, cwd=host.source) == "host\n"

    def test_what_it_cannot_find_is_left_to_the_others(self, ours: Environment, tmp_path: Path) -> None:
        """Where it fails inside, imports go on as if it was not there."""
        program = "import sys; del sys.modules['_frozen_importlib_external']; import orchestrator.state_store as s"
        assert ours.run("-c", f"{program}; print(s.__name__)", cwd=tmp_path) == "orchestrator.state_store\n"


class TestOldModule:
    """A `state_store.py` that was forgotten in the host: whoever installed this package meant this package."""

    @pytest.mark.parametrize("way", ["folder", "plain", "default", "strict", "compat", "hatch"])
    def test_it_shadows_nothing(self, environment: Environment, tmp_path: Path, way: str) -> None:
        host = Host(tmp_path / "host", "importing", way)
        host.leave_old_module()
        host.install(environment)
        found = host.probe(environment)
        assert (found["class"], found["runs"]) == ("orchestrator.state_store.store", ["run-1"])
        cwd = host.command("main")[1]
        report = environment.run("-m", "orchestrator.state_store", cwd=cwd)
        assert "state_store.py: not used; delete it" in report
        assert environment.run("-m", FINDER, cwd=cwd) == report

    @pytest.mark.parametrize("way", ["folder", "plain", "default", "strict", "compat", "hatch"])
    def test_without_the_finder_it_does_but_where_it_is_in_the_same_folder(
        self, environment: Environment, tmp_path: Path, way: str
    ) -> None:
        host = Host(tmp_path / "host", "empty", way)
        host.leave_old_module()
        host.install(environment)
        program = f"{WITHOUT_THE_FINDER}\nimport orchestrator.state_store as s; print(hasattr(s, 'SQLITE_VERSION'))"
        found = environment.run("-c", program, cwd=host.command("main")[1])
        assert found == ("True\n" if way in ("plain", "default") else "False\n")

    def test_in_a_namespace_it_shadows_nothing_either(self, ours: Environment, host: Host) -> None:
        host.leave_old_module()
        (host.source / "orchestrator" / "__init__.py").unlink()
        assert host.probe(ours)["class"] == "orchestrator.state_store.store"

    def test_package_of_that_name_is_the_hosts(self, ours: Environment, host: Host) -> None:
        """The predecessor was a module. A package is somebody's own, or a newer one of these on the path before."""
        package = host.source / "orchestrator" / "state_store"
        package.mkdir()
        (package / "__init__.py").write_text("class StateStore:\n    own = True\n")
        program = "from orchestrator.state_store import StateStore; print(StateStore.own)"
        assert ours.run("-c", program, cwd=host.source) == "True\n"


class TestReport:
    def test_it_says_what_is_used(self, ours: Environment, host: Host) -> None:
        import orchestrator.state_store as package

        lines = ours.run("-m", "orchestrator.state_store", cwd=host.source).splitlines()
        place = ours.site_packages / "orchestrator" / "state_store"
        assert lines == [
            f"orchestrator.state_store {package.__version__}",
            f"SQLite {package.SQLITE_VERSION}",
            f"installed in {place}",
            f"imported from {place / '__init__.py'}",
            f"finder active, {ours.site_packages / FINDER}.py",
        ]

    def test_it_says_that_an_old_module_is_used(self, ours: Environment, host: Host, workshop: Workshop) -> None:
        """`python -m orchestrator.state_store` would run the old module itself."""
        old = host.leave_old_module()
        target = host.folder / "target"
        ours.pip("install", "--quiet", "--no-index", "--no-deps", "--target", target, workshop.wheel(ours.base))
        bare = Environment(host.folder / "bare", ours.base)
        done = subprocess.run(
            [bare.python, "-m", FINDER],
            cwd=host.source,
            env={"PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1, done.stderr
        assert f"imported from {old}" in done.stdout
        assert "finder not active: " in done.stdout
        assert f"old module {old}: IN USE instead of this package; delete it" in done.stdout

    def test_it_says_why_an_import_fails(self, ours: Environment, host: Host) -> None:
        (host.source / "orchestrator" / "__init__.py").write_text("import no_such_module\n")
        done = subprocess.run([ours.python, "-m", FINDER], cwd=host.source, capture_output=True, text=True)
        assert done.returncode == 1
        assert "imported from nowhere: ModuleNotFoundError: No module named 'no_such_module'" in done.stdout

    def test_it_says_that_a_package_of_the_hosts_own_is_used(self, ours: Environment, host: Host) -> None:
        """It has no report of its own to run, which ended in a traceback."""
        package = host.source / "orchestrator" / "state_store"
        package.mkdir()
        (package / "__init__.py").write_text("class StateStore:\n    pass\n")
        done = subprocess.run([ours.python, "-m", FINDER], cwd=host.source, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, "")
        assert f"imported from {package / '__init__.py'}" in done.stdout

    def test_with_a_verb_it_says_what_to_install(self, ours: Environment) -> None:
        done = subprocess.run([ours.python, "-m", "orchestrator.state_store", "x"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [
            "python -m orchestrator.state_store: it needs the extra `cli`: pip install 'orchestrator-state-store[cli]'"
        ]
