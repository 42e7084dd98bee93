"""The rooms of the core import downward only, no two files import each other, and each outside crate has one room.

The tests in `conformance` are kept as well: they are for any engine.

`make lint` runs these as well. A file's own unit tests, at its foot, may import what they like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

ROOMS = ("model", "json", "sqlite", "py")
FLOORS = ("file", "tables", "engine", "lists", "upkeep", "calls")
OUTSIDE = {"rusqlite": "sqlite", "pyo3": "py"}
"""Which room alone knows an outside crate."""

MOST_LINES = 350
"""How long a file may be, without the unit tests at its foot."""

FILES = {path.relative_to(ROOT / "src").as_posix(): path for path in sorted((ROOT / "src").rglob("*.rs"))}
TABLES_OF_CONTENTS = {name for name in FILES if name.endswith("mod.rs") and not name.startswith("py/")} | {"lib.rs"}


def untested(text: str) -> str:
    """Return a file without its unit tests."""
    return re.split(r"#\[cfg\(test\)\]\n(?:pub\(crate\) )?mod tests", text)[0]


def code(text: str) -> str:
    """Return a file without its comments and its unit tests."""
    return re.sub(r"//[^\n]*", "", untested(text))


def paths(text: str, prefix: str = "") -> Iterator[str]:
    """Yield the paths in a `use` tree, its braces written out."""
    for part in re.findall(r"((?:[^,{}]|\{(?:[^{}]|\{[^{}]*\})*\})+)", text):
        before, brace, inside = part.strip().partition("{")
        if brace:
            yield from paths(inside.rpartition("}")[0], prefix + before)
        else:
            yield prefix + before


def imports(name: str, text: str) -> Iterator[str]:
    """Yield what a file takes from the crate, as paths from its root."""
    parents = name.removesuffix(".rs").removesuffix("/mod").split("/")[:-1]
    for tree in re.findall(r"\buse ([^;]+);", code(text)):
        for path in paths(tree):
            if path.startswith("crate::"):
                yield path.removeprefix("crate::")
            elif path.startswith("super::"):
                yield "::".join([*parents, path.removeprefix("super::")])
    yield from re.findall(r"(?<!use )\bcrate::([\w:]+)", re.sub(r"\buse [^;]+;", "", code(text)))


def room(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def faults(name: str, text: str) -> Iterator[str]:
    """Yield the rules of the house that a file breaks."""
    for crate, home in OUTSIDE.items():
        if room(name) != home and re.search(rf"\b{crate}\b", code(text)):
            yield f"{name} names {crate}, which only {home}/ knows"
    if name in TABLES_OF_CONTENTS - {"sqlite/calls/mod.rs"}:
        return
    for path in imports(name, text):
        to, _, rest = path.partition("::")
        if to in ROOMS and (room(name) not in ROOMS or ROOMS.index(to) > ROOMS.index(room(name))):
            yield f"{name} imports {path}, upward"
        if room(name) == to == "sqlite":
            floor, wanted = name.split("/")[1], rest.partition("::")[0]
            if floor in FLOORS and wanted in FLOORS and FLOORS.index(wanted) > FLOORS.index(floor):
                yield f"{name} imports {path}, upward"


def file_of(path: str) -> str | None:
    """Return the file that a path from the crate's root leads into."""
    parts = path.split("::")
    for length in range(len(parts), 0, -1):
        for name in ("/".join(parts[:length]) + ".rs", "/".join(parts[:length]) + "/mod.rs"):
            if name in FILES:
                return name
    return None


def test_rooms_import_downward_and_know_their_own_crates_only() -> None:
    found = [fault for name, path in FILES.items() for fault in faults(name, path.read_text(encoding="utf-8"))]
    assert found == []


def test_no_two_files_import_each_other() -> None:
    graph = {}
    for name, path in FILES.items():
        if name in TABLES_OF_CONTENTS - {"sqlite/calls/mod.rs"}:
            continue
        leads = {file_of(each) for each in imports(name, path.read_text(encoding="utf-8"))}
        graph[name] = leads - {None, name} - TABLES_OF_CONTENTS
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {error.args[1]}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json/path.rs", "use rusqlite::Connection;"),
        ("sqlite/file/fork.rs", "use pyo3::prelude::*;"),
        ("sqlite/tables/runs.rs", "use crate::sqlite::engine::writer::Writer;"),
        ("sqlite/tables/runs.rs", "use crate::{error::Result, sqlite::{engine::queue::Queue, file::gate}};"),
        ("sqlite/file/fork.rs", "fn f() { crate::sqlite::lists::runs::list() }"),
        ("model/rows.rs", "use crate::json::number::Number;"),
        ("error.rs", "use crate::model::rows::Runs;"),
        ("error.rs", "fn f(error: rusqlite::Error) {}"),
    ],
)
def test_a_fault_is_found(name: str, text: str) -> None:
    """What the first test here rests on."""
    assert len(list(faults(name, text))) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json/path.rs", "use crate::model::columns::ITEM_ID;"),
        ("sqlite/lists/runs.rs", "use crate::sqlite::tables::runs; // crate::sqlite::calls"),
        ("sqlite/file/fork.rs", "#[cfg(test)]\nmod tests {\n    use crate::sqlite::calls::opening;\n}"),
    ],
)
def test_what_is_no_fault_is_not_found(name: str, text: str) -> None:
    assert list(faults(name, text)) == []


CONFORMANCE = ROOT / "tests" / "conformance"
OF_SQLITE = re.compile(
    r"""sqlite | \.db\b | \bconnection\b | \b_core\b | \b_conn\b | \bimport\ plain\b | \bplain\. | \bpredecessor\b
    | :memory: | \bvacuum | \bbackup\b | \bcheckpoint\b | \bjournal | \bwal\b | \bsynchronous\b | \bpragma\b
    | \browid\b | \bpathlib\b | (?:db|run|tmp)_path | \bfiles?\b | \bfolders?\b
    | (?-i: \b(?: Path | SELECT | UPDATE | INSERT | DELETE | CREATE )\b )""",
    re.VERBOSE | re.IGNORECASE,
)
"""What only an engine that keeps its rows in a file of SQLite's has."""


def of_sqlite(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if OF_SQLITE.search(line)]


def test_conformance_names_nothing_of_sqlite_or_of_files() -> None:
    """Its stores come from the fixtures of its conftest.py, so that a second engine runs the same tests."""
    found = {path.name: of_sqlite(path.read_text(encoding="utf-8")) for path in sorted(CONFORMANCE.glob("*.py"))}
    assert found.pop("conftest.py"), "which alone may"
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert len(found) > 20
    opened = [name for name in found if re.search(r"\bStateStore\(", (CONFORMANCE / name).read_text(encoding="utf-8"))]
    assert opened == [], "they open stores by themselves"


@pytest.mark.parametrize(
    "line",
    [
        "from tests.helpers import plain_sqlite",
        'StateStore(tmp_path / "state.db")',
        'store.connection.execute("SELECT 1")',
        "store._core.finish_run()",
        'store.backup("copy")',
        "def test_x(run_path: Path) -> None:",
    ],
)
def test_what_is_of_sqlite_is_found(line: str) -> None:
    assert of_sqlite(line) == [line]


def test_every_file_can_be_read_at_one_go() -> None:
    """One concept a file: what is longer than this has two."""
    sources = [*FILES.values(), *(ROOT / "python").rglob("*.py")]
    lengths = {path: len(untested(path.read_text(encoding="utf-8")).splitlines()) for path in sources}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_two_files_know_which_column_hides_a_run() -> None:
    """A query that names it by itself is one that tests/sqlite/test_pruned.py may not know of."""
    know = {name for name, path in FILES.items() if "pruned_at" in code(path.read_text(encoding="utf-8"))}
    assert know == {"sqlite/tables/pruned.rs", "sqlite/file/migrations.rs"}


def test_few_files_lie_in_no_room() -> None:
    assert {name for name in FILES if "/" not in name} == {"lib.rs", "error.rs", "memory.rs", "sync.rs"}


def test_every_source_is_looked_at() -> None:
    assert len(FILES) > 60
    assert all(isinstance(path, Path) and path.is_file() for path in FILES.values())
