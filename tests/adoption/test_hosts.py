"""A program with a package `orchestrator` of its own installs this one, and imports both, however it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.adoption.hosts import INITS, WAYS, Host
from tests.adoption.installing import Environment, Workshop, newer_pythons


class Combination(NamedTuple):
    """How a host is written and installed, in which order, and for which Python."""

    python: str
    way: str
    init: str
    order: str
    layout: str

    @property
    def works_without_the_finder(self) -> bool:
        """Whether Python finds both by itself: in one folder, or by the host's own line where a path leads to it."""
        by_a_finder_of_its_own = (self.way, self.layout) == ("default", "flat")
        return self.way == "plain" or (self.init == "extend_path" and not by_a_finder_of_its_own)


def combinations(full: bool) -> list[Combination]:
    """Return all 18; in full those of every Python, order and layout."""
    pythons = [sys.executable, *newer_pythons()] if full else [sys.executable]
    orders = ["ours first", "host first"] if full else ["ours first"]
    layouts = ["flat", "src"] if full else ["flat"]
    return [
        Combination(python, way, init, order, layout)
        for python, layout, order, way, init in product(pythons, layouts, orders, WAYS, INITS)
        if way != "folder" or (order, layout) == ("ours first", "flat")
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "combination" in metafunc.fixturenames:
        each = combinations(metafunc.config.getoption("--full"))
        names = ["-".join([Path(one.python).name, *one[1:]]) for one in each]
        metafunc.parametrize("combination", each, ids=names)


def set_up(workshop: Workshop, combination: Combination) -> tuple[Host, Environment]:
    """Install a host and this package."""
    folder = workshop.folder / "-".join([Path(combination.python).name, *combination[1:]])
    source = "src" if combination.layout == "src" else "."
    host = Host(folder / "host", combination.init, combination.way, source)
    if combination.order == "ours first":
        environment = workshop.with_ours(combination.python).copy(folder / "environment")
        host.install(environment)
    else:
        environment = Environment(folder / "environment", combination.python, workshop.tools)
        host.install(environment)
        environment.install(workshop.wheel(combination.python))
    return host, environment


@pytest.fixture(scope="module")
def prepared(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[dict[Combination, Future[Any]]]:
    """Set up all combinations that will be tested, two at a time."""
    wanted = [item.callspec.params.get("combination") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(2) as pool:
        yield {each: pool.submit(set_up, workshop, each) for each in wanted if each}
        pool.shutdown(cancel_futures=True)


def test_host_imports_its_own_modules_and_ours(
    combination: Combination, prepared: dict[Combination, Future[tuple[Host, Environment]]]
) -> None:
    """Without the finder, 7 of the 18 work: a regular package hides ours, or ours hides one that a finder finds."""
    host, environment = prepared[combination].result()
    found = host.probe(environment)
    in_place = combination.way not in ("plain", "strict")
    assert Path(found["host"]).name == "__init__.py"
    assert Path(found["host"]).is_relative_to(host.folder) == (combination.way != "plain")
    assert not in_place or Path(found["host"]) == host.source.resolve() / "orchestrator" / "__init__.py"
    assert (found["settings"], found["steps"], found["runs"]) == ("host", ["fetch"], ["run-1"])
    assert Path(found["store"]).parent == Path(found["core"]).parent
    assert Path(found["store"]).parent == environment.site_packages / "orchestrator" / "state_store"
    assert (found_without_the_finder(host, environment) == found) == combination.works_without_the_finder


def found_without_the_finder(host: Host, environment: Environment) -> dict[str, Any] | None:
    """Return what a host finds when the finder is gone; None where an import fails.

    In setuptools' default mode nothing fails and the host's `__init__` is never run: `orchestrator` is a namespace.
    """
    try:
        return host.probe(environment, "without")
    except RuntimeError as error:
        if "No module named 'orchestrator" in str(error):
            return None
        raise


def test_there_are_18(pytestconfig: pytest.Config) -> None:
    """In full a newer Python has to be on PATH, with pip: PATH=/folder/of/python3.13/bin:$PATH."""
    full = pytestconfig.getoption("--full")
    pythons = {each.python for each in combinations(full)}
    assert len(pythons) > 1 or not full
    for python in pythons:
        assert len({(each.way, each.init) for each in combinations(full) if each.python == python}) == 18
        alone = {
            (each.way, each.init)
            for each in combinations(full)
            if each.python == python and each.layout == "flat" and each.works_without_the_finder
        }
        assert len(alone) == 7
