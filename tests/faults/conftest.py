"""Quick and full forms, and the figures that they reach."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

FIGURE = "figure"
"""The property of a test under which its report carries what it reached, from a parallel worker too."""


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Return what chooses how often to repeat: the first number as a rule, the second with `--full`."""
    full = pytestconfig.getoption("--full")
    return lambda quick, all_: all_ if full else quick


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what notes the figure that a test reached, for the table at the end of the run."""
    return lambda note: request.node.user_properties.append((FIGURE, note))


def compiled_preload(folder: Path) -> Path:
    """Compile what makes system calls fail."""
    library = folder / "preload.so"
    source = Path(__file__).with_name("preload.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def preload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what makes system calls fail."""
    return compiled_preload(tmp_path_factory.mktemp("preload"))


@pytest.fixture
def fault(
    tool: Callable[[str], str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Return what switches a fault of `preload.c` on, or all off with "", in the programs that the test starts."""
    tool("cc")
    switch = tmp_path / "fault"
    monkeypatch.setenv("FAULT_SWITCH", str(switch))
    monkeypatch.setenv("LD_PRELOAD", str(request.getfixturevalue("preload")))

    def set_fault(name: str) -> None:
        new = switch.with_suffix(".new")
        new.write_text(name)
        new.replace(switch)

    return set_fault


@pytest.hookimpl(hookwrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the figures, those of a test's cases in one line."""
    yield
    by_test: dict[str, list[list[str]]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            notes = [value for name, value in report.user_properties if name == FIGURE]
            if report.when == "call" and notes:
                test = report.nodeid.removeprefix("tests/faults/").partition("[")[0]
                by_test.setdefault(test, []).append(notes)
    if by_test:
        terminalreporter.section("faults")
    for test, cases in sorted(by_test.items()):
        count = f"{len(cases)} cases: " if len(cases) > 1 else ""
        figures = dict.fromkeys(note for notes in cases for note in notes)
        terminalreporter.write_line(f"{test}: {count}{'; '.join(figures)}")
