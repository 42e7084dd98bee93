"""What is installed once for all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.adoption.hosts import Host
from tests.adoption.installing import Environment, Workshop


@pytest.fixture(scope="session")
def workshop(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Return where wheels and environments are made; in full the wheels are maturin's."""
    return Workshop(tmp_path_factory.mktemp("adoption"), pytestconfig.getoption("--full"))


@pytest.fixture(scope="session")
def ours(workshop: Workshop) -> Environment:
    """Return an environment that has this package and nothing else; not to be changed."""
    return workshop.with_ours(sys.executable)


@pytest.fixture
def environment(ours: Environment, tmp_path: Path) -> Environment:
    """Return one like it that may be changed."""
    return ours.copy(tmp_path / "environment")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host that is run from its folder."""
    return Host(tmp_path / "host", "importing")
