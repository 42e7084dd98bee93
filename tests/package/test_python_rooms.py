"""The engine for PostgreSQL is a room of its own: it alone knows psycopg, nobody imports it but for a URL."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "python" / "orchestrator" / "state_store"
ROOM = "orchestrator.state_store._postgres"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "python").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree: ast.AST, *, late: bool) -> Iterator[str]:
    """Yield what a module imports when it is imported itself; the rest of it too if it is `late`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{each.name}" for each in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        elif not is_for_types(node) and (late or not isinstance(node, ast.FunctionDef)):
            yield from imports(node, late=late)


def is_in_room(name: str) -> bool:
    return name == ROOM or name.startswith(f"{ROOM}.")


def test_only_the_room_knows_psycopg() -> None:
    knows = {name for name, tree in MODULES.items() if "psycopg" in {each[:7] for each in imports(tree, late=True)}}
    assert knows, "the test finds nothing"
    assert {name for name in knows if not is_in_room(name)} == set()


def test_only_a_url_leads_into_the_room() -> None:
    outside = {name: tree for name, tree in MODULES.items() if not is_in_room(name)}
    late = {name for name, tree in outside.items() if any(map(is_in_room, imports(tree, late=True)))}
    assert late == {"orchestrator.state_store.store"}
    assert not any(map(is_in_room, imports(outside["orchestrator.state_store.store"], late=False)))


def test_no_two_files_of_the_room_import_each_other() -> None:
    room = {name: tree for name, tree in MODULES.items() if is_in_room(name) and name != ROOM}
    graph = {name: {each for each in imports(tree, late=True) if each in room} for name, tree in room.items()}
    assert any(graph.values())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}")


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_a_store_in_a_file_loads_nothing_of_it() -> None:
    program = """
import sys
from orchestrator.state_store import StateStore
with StateStore(":memory:") as store, store.transaction():
    store.start_run("run-1", "daily", {})
print(*(name for name in sys.modules if "psycopg" in name or "_postgres" in name))
"""
    assert run(program).split() == []


def test_without_psycopg_one_line_says_what_to_install() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from orchestrator.state_store import CannotOpenError, StateStore
try:
    StateStore("postgresql://me:secret@host/db")
except CannotOpenError as error:
    print(error)
"""
    message = run(program)
    assert "pip install 'orchestrator-state-store[postgres]'" in message
    assert message.count("\n") == 1
    assert "secret" not in message
