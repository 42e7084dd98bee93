"""What is installed once for all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.adoption.hosts import Host
from tests.adoption.installing import Environment, Workshop, newer_pythons


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Return where wheels and environments are made; in full the wheels are maturin's."""
    return Workshop(tmp_path_factory.mktemp("adoption"), pytestconfig.getoption("--full"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask the tests of every Python; in full there are newer ones."""
    if "python" in metafunc.fixturenames:
        pythons = [sys.executable, *(newer_pythons() if metafunc.config.getoption("--full") else [])]
        metafunc.parametrize("python", pythons, ids=[Path(each).name for each in pythons], scope="session")


@pytest.fixture(scope="session")
def ours(workshop: Workshop, python: str) -> Environment:
    """Return an environment that has this package and nothing else; not to be changed."""
    return workshop.with_ours(python)


@pytest.fixture
def environment(ours: Environment, tmp_path: Path) -> Environment:
    """Return one like it that may be changed."""
    return ours.copy(tmp_path / "environment")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host that is run from its folder."""
    return Host(tmp_path / "host", "importing")
