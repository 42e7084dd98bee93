"""Which contenders take their turns, in which order, and in which files.

Every test is one round of one contender. pytest runs them turn by turn, so that whatever slows the machine down for a
while slows all contenders down; `benches.session` takes the medians.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from benches import items
from benches.files import FILES, add_items
from benches.rivals import ALL, GATED, Contender, Synchronous, open_contender

RUN = "run"
TURNS = 7
LARGE_RUNS = 100

OpenContender = Callable[..., Contender]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="all rivals, real items too, and what takes minutes")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "contenders(*names): who takes part, where it is not the usual ones")
    config.addinivalue_line("markers", "joined_by(name): who takes part as well")
    config.addinivalue_line("markers", "turns(gate, full): how many rounds each has, where it is not as many as usual")
    config.addinivalue_line("markers", "real_items: in full, the same on real items")
    config.addinivalue_line("markers", "full_only: not for the gate")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the contenders take turns."""
    full = metafunc.config.getoption("--full")
    marks = {mark.name: mark.args for mark in metafunc.definition.iter_markers()}
    names = (*marks.get("contenders", ALL if full else GATED), *marks.get("joined_by", ()))
    turns = marks.get("turns", (TURNS, TURNS))[full]
    sources = items.SOURCES if full and "real_items" in marks else (items.MADE_UP,)
    metafunc.parametrize(("source", "turn", "contender"), list(itertools.product(sources, range(turns), names)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only a full run has."""
    left_out = [] if config.getoption("--full") else [item for item in items if item.get_closest_marker("full_only")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def large_file() -> Iterator[Path]:
    """Make a file of `LARGE_RUNS` runs of 10,000 items once. Whoever writes to it adds runs."""
    FILES.mkdir(exist_ok=True)
    path = FILES / "bench-large.db"
    with StateStore(path, synchronous="NORMAL") as store:
        add_items(store, LARGE_RUNS)
    yield path
    path.unlink()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is gone once the round is over."""
    FILES.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=FILES))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def open_here(folder: Path) -> Iterator[OpenContender]:
    """Return what opens a contender on a new file with a run in it; it is closed at the end."""
    with ExitStack() as stack:

        def open_(name: str, synchronous: Synchronous = "FULL") -> Contender:
            opened = open_contender(name, folder / "bench.db", synchronous)
            stack.enter_context(closing(opened))
            opened.start_run(RUN)
            return opened

        yield open_
