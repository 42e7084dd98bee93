"""What people look at a store with imports downward only, and each package of the extra `cli` has its rooms."""

from __future__ import annotations

import sys

import pytest

from tests.package.test_python_rooms import MODULES, imports

PACKAGE = "orchestrator.state_store"
ROOMS = ("_view", "_report", "_page", "_cli")
"""A room imports from those before it; the rest of the package imports none of them, but `__main__` the last."""

KNOW = {
    "click": {"_cli"},
    "rich": {"_cli"},
    "jinja2": {"_report", "_page"},
    "markupsafe": {"_report", "_page"},
    "starlette": {"_page"},
    "uvicorn": {"_page"},
}


def room_of(name: str) -> str:
    room = name.removeprefix(f"{PACKAGE}.").partition(".")[0] if name.startswith(f"{PACKAGE}.") else ""
    return room if room in ROOMS else ""


def faults(name: str, imported: str) -> str:
    """Return which rule an import breaks."""
    room, to, package = room_of(name), room_of(imported), imported.partition(".")[0]
    if to and room != to and (not room or ROOMS.index(to) > ROOMS.index(room)) and name != f"{PACKAGE}.__main__":
        return f"{name} imports {imported}, upward"
    if package in KNOW and room not in KNOW[package]:
        return f"{name} imports {imported}, which only {sorted(KNOW[package])} know"
    if room and imported.startswith(f"{PACKAGE}._") and not to:
        return f"{name} imports {imported}: people's rooms use the public calls"
    if room == "_view" and package not in sys.stdlib_module_names | {"orchestrator"}:
        return f"{name} imports {imported}, and _view needs no third party's package"
    return ""


def test_rooms_import_downward_and_know_their_own_packages_only() -> None:
    found = [faults(name, each) for name, tree in MODULES.items() for each in imports(tree, late=True)]
    assert list(filter(None, found)) == []
    assert f"{PACKAGE}._view.runs" in MODULES


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("store", f"{PACKAGE}._view.text"),
        ("_view.text", f"{PACKAGE}._cli.output"),
        ("_page.views", f"{PACKAGE}._cli.output"),
        ("_page.views", "rich.table"),
        ("_cli.output", "jinja2"),
        ("_view.text", "markupsafe"),
        ("_view.text", "pandas"),
        ("_cli.runs", f"{PACKAGE}._core"),
    ],
)
def test_a_fault_is_found(name: str, imported: str) -> None:
    """What the test above rests on."""
    assert faults(f"{PACKAGE}.{name}", imported)
