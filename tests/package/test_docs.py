"""The documentation is true: its blocks run, its tables name all that there is, its layout names every room."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orchestrator.state_store as package
import pytest
from orchestrator.state_store import Connection, Cursor, ItemFilters, RunRecord, StateStore, StateStoreError

from tests.helpers import ROOT

README = ROOT / "README.md"
API = ROOT / "docs" / "api.md"
GUIDE = ROOT / "docs" / "guide.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
EXECUTED = [README, *sorted((ROOT / "docs").glob("**/*.md"))]
DOCUMENTS = [*EXECUTED, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
MODULES = [package.__name__, *(each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))]
LAID_OUT = ("src", "startup", "python", "tests", "benches", "examples", "docs", "tools")


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def blocks(document: Path, language: str) -> Iterator[tuple[int, str]]:
    """Yield the fenced blocks of a language, each with the number of its first line."""
    text = document.read_text(encoding="utf-8")
    for fence in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if fence[1] == language:
            yield text.count("\n", 0, fence.start(2)) + 1, fence[2]


def section(document: Path, heading: str) -> str:
    """Return what stands under a heading, as far as the next one of its level."""
    text = document.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document.name} has no section {heading!r}"
    return found[1]


def table(text: str) -> dict[str, list[str]]:
    """Return the rows of all tables in a text, by the code in their first cell."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {code: row[1:] for row in rows for code in re.findall(r"`([^`]+)`", row[0])}


def run_examples(test: doctest.DocTest) -> None:
    """Run a doctest, and fail with its report, which names file and line."""
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append, clear_globs=False)
    if report:
        pytest.fail("".join(report), pytrace=False)


def run_block(document: Path, line: int, source: str, namespace: dict[str, Any]) -> None:
    """Run a block as if its file were a program: by doctest where it shows a session."""
    if source.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(source, {}, name_of(document), str(document), line - 1)
        test.globs = namespace
        run_examples(test)
    else:
        exec(compile("\n" * (line - 1) + source, document, "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("document", EXECUTED, ids=name_of)
def test_python_blocks_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": document.stem}
    for line, source in blocks(document, "python"):
        run_block(document, line, source, namespace)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_python_block_escapes(document: Path) -> None:
    """An indented fence, or one by another name, would not be run."""
    text = document.read_text(encoding="utf-8")
    found = list(blocks(document, "python")) if document in EXECUTED else []
    assert len(re.findall(r"(?:```|~~~) *(?:python|py)", text)) == len(found)
    assert text.count("```") % 2 == 0
    assert all(">>>" not in source for _, source in blocks(document, ""))


@pytest.mark.parametrize("source", ["1 / 0\n", ">>> 1 / 0\n", ">>> 1\n2\n"])
def test_block_that_is_wrong_fails_and_says_where(source: str) -> None:
    with pytest.raises((ZeroDivisionError, pytest.fail.Exception)) as caught:
        run_block(GUIDE, 71, source, {})
    report = str(caught.getrepr(style="native"))
    assert re.search(rf'File "{re.escape(str(GUIDE))}", line 71\b', report), report


class Finder(doctest.DocTestFinder):
    """Finds the examples of public classes too, which say that their module is the package."""

    def _from_module(self, module: ModuleType | None, object: object) -> bool:
        is_public = inspect.isclass(object) and object.__module__ == package.__name__
        return is_public or super()._from_module(module, object)  # type: ignore[misc]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for test in Finder().find(importlib.import_module(name), name):
        run_examples(test)


def test_modules_and_classes_have_examples() -> None:
    found = [test for name in MODULES for test in Finder().find(importlib.import_module(name), name)]
    with_examples = {test.name for test in found if test.examples}
    classes = ("store.StateStore", "connection.Row", "connection.Connection.execute", "records.filters.ItemFilters")
    assert {package.__name__, *(f"{package.__name__}.{name}" for name in classes)} <= with_examples


@pytest.mark.parametrize("name", package.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    text = API.read_text(encoding="utf-8") + GUIDE.read_text(encoding="utf-8")
    assert re.search(rf"\b{name}\b", text)


def call(name: str, function: Any) -> str:
    """Return a method with its parameters, as a caller writes it; filters of items and runs have one name for all."""
    _, *parameters = inspect.signature(function).parameters.values()
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    if bare and bare[-1].kind == inspect.Parameter.VAR_KEYWORD:
        keywords = [str(each) for each in bare[:-1] if each.kind == inspect.Parameter.KEYWORD_ONLY]
        places = [str(each) for each in bare[:-1] if each.kind != inspect.Parameter.KEYWORD_ONLY]
        return f"{name}({', '.join([*places, '*', 'FILTERS', *keywords])})"
    run_filters = ", ".join(f"{each}=None" for each in table(section(API, "Run filters")))
    return f"{name}{inspect.Signature(bare)}".replace(run_filters, "RUN_FILTERS")


def test_every_method_of_the_store_is_in_the_api_tables() -> None:
    classes = [kind for kind in StateStore.__mro__ if kind is not object]
    members = {name: value for kind in classes for name, value in vars(kind).items() if not name.startswith("_")}
    calls = {call(name, value) if inspect.isfunction(value) else name for name, value in members.items()}
    attributes = set(inspect.get_annotations(StateStore))
    assert set(table(section(API, "Methods"))) == calls | attributes
    assert ItemFilters.__optional_keys__ == set(table(section(API, "Item filters")))


def test_docstrings_name_what_the_api_tables_have() -> None:
    """Each parameter of a method, and no error without a row; the filters of items are documented once."""
    errors = set(table(section(API, "Errors"))) | {"StateStoreError", "TypeError", "ValueError", "RecursionError"}
    functions = {
        name: value for kind in StateStore.__mro__ for name, value in vars(kind).items() if inspect.isfunction(value)
    }
    for name, function in functions.items():
        if not name.startswith("_"):
            named = re.findall(r"^\w+(?:, \w+)*$", inspect.getdoc(function) or "", re.MULTILINE)
            words = {word for line in named for word in line.split(", ")}
            _, *parameters = inspect.signature(function).parameters.values()
            wanted = {each.name for each in parameters if each.kind != inspect.Parameter.VAR_KEYWORD}
            assert wanted <= words, name
            assert {word for word in words if word.endswith("Error")} <= errors, name


def test_every_option_of_the_store_is_in_the_api_tables() -> None:
    rows = table(section(API, "Options"))
    _, *parameters = inspect.signature(StateStore).parameters.values()
    assert set(rows) == {option.name for option in parameters}
    for option in parameters:
        assert ast.literal_eval(rows[option.name][0].strip("`")) == option.default


def test_members_of_what_the_store_returns_are_in_the_api_tables() -> None:
    text = section(API, "Types")
    fields = {field.name for field in dataclasses.fields(RunRecord)} | {"description", "rowcount"}
    calls = {
        call(name, value)
        for kind in (Connection, Cursor)
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert [name for name in sorted(fields | calls) if f"`{name}`" not in text and f"`{name} " not in text] == []


def test_every_error_is_in_the_api_tables_with_its_other_base() -> None:
    exported = [getattr(package, name) for name in package.__all__]
    wanted = {
        each.__name__: "`" + re.sub(r"^(builtins|orchestrator\..*)\.", "", f"{base.__module__}.{base.__name__}") + "`"
        for each in exported
        if inspect.isclass(each) and issubclass(each, StateStoreError)
        for base in each.__bases__
        if base not in (StateStoreError, Exception)
    }
    assert {name: row[0] for name, row in table(section(API, "Errors")).items()} == wanted


def test_reliability_says_what_to_do_on_every_error() -> None:
    exported = [getattr(package, name) for name in package.__all__]
    errors = {each.__name__ for each in exported if inspect.isclass(each) and issubclass(each, StateStoreError)}
    assert errors - {"StateStoreError"} - set(table(section(RELIABILITY, "When a call fails"))) == set()


def test_reliability_has_every_test_of_a_fault() -> None:
    text = section(RELIABILITY, "Tested faults")
    tests = {test.name for test in (ROOT / "tests" / "faults").glob("test_*.py")}
    assert tests - set(re.findall(r"`(test_\w+\.py)`", text)) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = document.parent / path if path else document
        assert page.exists(), target
        headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, target


def test_readme_leads_to_every_page() -> None:
    text = section(README, "Documentation")
    assert [name_of(page) for page in EXECUTED[1:] if f"({name_of(page)})" not in text] == []


@pytest.mark.parametrize("document", [ROOT / "docs" / "design.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_files_that_are_named_exist(document: Path) -> None:
    """Whoever carries on looks there; a file that was moved takes its mention along."""
    text = document.read_text(encoding="utf-8")
    files = {f"/{name}" for name in source_files()}
    named = set(re.findall(r"[\w/.]+\.(?:rs|pyi|py)\b", text))
    assert named
    assert [name for name in sorted(named) if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_lines_are_short(document: Path) -> None:
    """But for the signature of a method, which a table has in one line, and nothing else beside it."""
    lines = document.read_text(encoding="utf-8").splitlines()
    signature = re.compile(r"\| `\w+\(.*\)` \| \|")
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120 and not signature.fullmatch(line)] == []


def named_in_the_layout() -> set[str]:
    """Return the folders in CONTRIBUTING.md's tree: two spaces a level, a slash at the end of each name."""
    [(_, tree), *_] = blocks(ROOT / "CONTRIBUTING.md", "text")
    folders: list[str] = []
    paths = set()
    for line in tree.splitlines():
        depth, odd = divmod(len(line) - len(line.lstrip()), 2)
        name = line.split()[0]
        assert not odd, line
        assert name.endswith("/"), line
        folders[depth:] = [name]
        paths.add("".join(folders).rstrip("/"))
    return paths


def source_files() -> set[str]:
    """Return the tracked files; all files where there is no repository, or no git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listing = subprocess.run(["git", "ls-files", "-z", *LAID_OUT], cwd=ROOT, capture_output=True, check=True)
        return {os.fsdecode(name) for name in listing.stdout.split(b"\0") if name}
    files = {path for folder in LAID_OUT for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {name_of(path) for path in files if path.parent.name != "__pycache__" and path.suffix != ".so"}


def test_layout_names_every_room() -> None:
    named = named_in_the_layout()
    rooms = {folder.as_posix() for name in source_files() for folder in Path(name).parents} - {"."}
    assert sorted(rooms - named) == [], "CONTRIBUTING.md's layout lacks them"
    assert sorted(named - rooms) == [], "CONTRIBUTING.md's layout has them"


def test_changelog_mentions_the_version() -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
    assert version == package.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(version)}\]", changelog, re.MULTILINE)
