"""Importing the package is quick beside what an orchestrator imports anyway; its records are dataclasses like any."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import orchestrator.state_store as package
import pytest
from orchestrator.state_store import Deleted, Page, RunNotFoundError, RunRecord, store
from orchestrator.state_store.records.run import record_of

from benches.rows import IMPORTED_ANYWAY
from tests.helpers import ROOT

WRITES_ONCE = f"""
import {IMPORTED_ANYWAY}
import sys
before = set(sys.modules)
from orchestrator.state_store import StateStore
with StateStore(sys.argv[1]) as store:
    store.start_run("run-1", "daily", {{"limit": [10]}})
print(*sys.modules.keys() - before)
"""
RARELY_NEEDED = {
    f"{package.__name__}.{name}"
    for name in ("connection", "core", "exceptions", "records.filters", "records.item", "records.upkeep", "times")
}


def loaded_by_a_write(path: str) -> tuple[set[str], set[str]]:
    """Return which modules of others, and which of the rarely needed, a program loads that writes to a store once."""
    program = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{WRITES_ONCE}", path]
    loaded = set(subprocess.run(program, capture_output=True, text=True, check=True).stdout.split())
    assert package.__name__ in loaded
    return {name for name in loaded if not name.startswith("orchestrator")}, RARELY_NEEDED & loaded


def test_program_that_writes_once_loads_no_slow_module() -> None:
    others, ours = loaded_by_a_write(":memory:")
    assert others <= {"__future__"}
    assert ours == set()


def test_program_that_writes_to_a_file_loads_the_classes_of_errors_as_well(tmp_path: Path) -> None:
    """Later there may be no descriptor to import them with. What else is imported late has an error for that."""
    others, ours = loaded_by_a_write(str(tmp_path / "state.db"))
    assert others <= {"__future__", "_sqlite3"}
    assert ours == {f"{package.__name__}.exceptions"}


def test_no_call_in_a_forked_child_imports_anything(tmp_path: Path) -> None:
    """A thread that the fork left behind may have been importing it: the child would wait for it for ever."""
    program = ROOT / "tests" / "programs" / "every_call.py"
    start = f"import sys; sys.path[:] = {[*sys.path, str(program.parent)]!r}; import every_call; every_call.main()"
    command = [sys.executable, "-S", "-W", "always", "-c", start, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    failed, *imported = done.stdout.split()
    assert imported == []
    assert int(failed) > 40, "few errors were looked at"
    assert "FileLinkedWarning" in done.stderr, "no warning was looked at"


BUILT_IN = ("sys", "_signal")
"""What Python has imported before it runs anything."""


def imported_late() -> Iterator[str]:
    """Yield what functions of the package import, in Python and in Rust; that for PostgreSQL and for people aside."""
    apart = {"_postgres", "_view", "_report", "_page", "_cli", "__main__.py"}
    for path in (path for path in (ROOT / "python").rglob("*.py") if apart.isdisjoint(path.parts)):
        functions = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.FunctionDef)]
        for node in (node for function in functions for node in ast.walk(function)):
            if isinstance(node, ast.ImportFrom):
                yield str(node.module)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
    for path in (ROOT / "src" / "py").rglob("*.rs"):
        yield from re.findall(r'\.import\((?:intern!\(py, )?"([^"]+)"', path.read_text())


def test_fork_imports_first_what_calls_import_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that the test above does not get to."""
    imported: list[str] = []
    monkeypatch.setattr(store, "import_module", imported.append)
    store.import_all()
    late = set(imported_late()) - {"orchestrator_state_store_finder", f"{package.__name__}._postgres", *BUILT_IN}
    assert {"json", "weakref", f"{package.__name__}.times", f"{package.__name__}.exceptions"} <= late
    assert late - set(imported) == set()


def test_every_public_name_is_there_and_no_other() -> None:
    namespace: dict[str, object] = {}
    exec("from orchestrator.state_store import *", namespace)
    assert set(package.__all__) <= namespace.keys()
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = package.NoSuchName


class TestRunRecordIsAFrozenDataclass:
    run = RunRecord("run-1", "daily", "now", "running", {"limit": 10})

    def test_its_fields_are_found(self) -> None:
        assert dataclasses.is_dataclass(RunRecord)
        names = [field.name for field in dataclasses.fields(RunRecord)]
        assert dataclasses.asdict(self.run) == {name: getattr(self.run, name) for name in names}
        assert tuple(names) == vars(RunRecord)["__match_args__"] == tuple(inspect.signature(RunRecord).parameters)
        assert dataclasses.replace(self.run, status="completed").status == "completed"
        assert dataclasses.replace(self.run, status="completed") != self.run

    def test_a_copy_may_have_other_values(self) -> None:
        """From Python 3.13 on, `copy` can do it too."""
        replace = getattr(copy, "replace", dataclasses.replace)
        assert replace(self.run, status="completed") == dataclasses.replace(self.run, status="completed")

    def test_it_is_the_same_when_it_is_made_of_a_row(self) -> None:
        row = tuple(field.name for field in dataclasses.fields(RunRecord))
        made = record_of(row)
        assert made == RunRecord(*row)
        assert vars(made) == dict(zip(row, row, strict=True))

    def test_it_equals_its_copies(self) -> None:
        for other in (copy.copy(self.run), copy.deepcopy(self.run), pickle.loads(pickle.dumps(self.run))):
            assert other == self.run
            assert repr(other) == repr(self.run)
        assert hash(dataclasses.replace(self.run, settings_snapshot_json=1)) != hash("run-1")
        assert repr(self.run).startswith("RunRecord(run_id='run-1', run_type='daily', started_at='now'")

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError, match="'status'"):
            self.run.status = "completed"  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError, match="'status'"):
            del self.run.status

    def test_fields_that_are_wrong_are_refused(self) -> None:
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'settings_snapshot_json'"):
            RunRecord("run-1", "daily", "now", "running")  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="no_such"):
            RunRecord("run-1", "daily", "now", "running", {}, no_such=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("", RunRecord),
        (".run_record", RunRecord),
        (".records.run", RunRecord),
        (".page", Page),
        ("", Deleted),
        (".maintenance_records", Deleted),
        ("", RunNotFoundError),
        (".exceptions", RunNotFoundError),
    ],
)
def test_what_was_pickled_is_read_whatever_its_module_was_called_then(module: str, kind: type) -> None:
    program = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).__name__)"
    pickled = f"c{package.__name__}{module}\n{kind.__name__}\n.".encode()
    done = subprocess.run([sys.executable, "-c", program], input=pickled, capture_output=True, check=True)
    assert done.stdout.decode().strip() == kind.__name__


PUBLIC = [name for name in package.__all__ if inspect.isclass(getattr(package, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_class_says_where_it_is_imported_from(name: str) -> None:
    kind = getattr(package, name)
    assert (kind.__module__, kind.__qualname__) == (package.__name__, name)


@pytest.mark.parametrize("name", [name for name in PUBLIC if issubclass(getattr(package, name), Exception)])
def test_exceptions_can_be_pickled(name: str) -> None:
    error = getattr(package, name)("what was wrong")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (type(error), "what was wrong")


@pytest.mark.parametrize("name", ["Checkpointed", "Deleted", "Finding", "Page", "RunRecord", "Stats", "Vacuumed"])
def test_what_is_pickled_names_the_package(name: str) -> None:
    """It stays, whatever moves inside of it; and tools that look annotations up find them from there."""
    kind = getattr(package, name)
    assert kind.__module__ == package.__name__
    assert typing.get_type_hints(kind).keys() == inspect.get_annotations(kind).keys()
