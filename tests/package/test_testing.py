"""What is shipped for whoever builds another engine finds stores that do something else than they should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from orchestrator.state_store import RunNotFoundError, StateStore
from orchestrator.state_store.testing import Pair, check

from tests.helpers import make_item


class Forgetful(StateStore):
    """Keeps the decision on an item that comes again without one."""

    def upsert_intel_item(self, item: Any) -> None:
        before = self.get_intel_item(item["item_id"]) if isinstance(item.get("item_id"), str) else None
        super().upsert_intel_item({**item, "decision": before["decision"]} if before else item)


class Lenient(StateStore):
    """Takes the end of a run that there is not."""

    def finish_run(self, *arguments: Any, **options: Any) -> None:
        try:
            super().finish_run(*arguments, **options)
        except RunNotFoundError:
            return


@pytest.fixture
def unshrunk() -> Iterator[None]:
    """Have hypothesis be content with the first failure: a smaller one takes long to find."""
    settings.register_profile("unshrunk", settings.get_profile("store"), phases=[Phase.generate])
    settings.load_profile("unshrunk")
    yield
    settings.load_profile("store")


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("kind", [Forgetful, Lenient])
def test_model_finds_a_store_that_does_something_else(kind: type[StateStore]) -> None:
    with kind(":memory:") as store, pytest.raises(AssertionError):
        check(store, examples=10_000)


@pytest.mark.usefixtures("unshrunk")
@pytest.mark.parametrize("kind", [Forgetful, Lenient])
def test_two_stores_that_differ_are_found_by_the_call(kind: type[StateStore]) -> None:
    with kind(":memory:") as one, StateStore(":memory:") as other, pytest.raises(AssertionError, match="one comes to"):
        check(one, other, examples=10_000)


def test_pair_compares_each_call_but_for_times() -> None:
    with StateStore(":memory:") as one, StateStore(":memory:") as other:
        both = Pair(one, other)
        with both.transaction():
            both.start_run("run-1", "daily", {"a": -0.0})
            both.upsert_intel_items_batch([make_item("a"), make_item("b")])
        assert [item["item_id"] for item in both.iter_intel_items()] == ["a", "b"]
        assert both.list_intel_items(limit=1).next_cursor
        with pytest.raises(RunNotFoundError):
            both.finish_run("none", "completed")
        other.write_telemetry("run-1", 0.0)
        one.write_telemetry("run-1", -0.0)
        with pytest.raises(AssertionError, match=r"get_telemetry: one comes to -0\.0, the other to 0\.0"):
            both.get_telemetry("run-1")
        other.finish_run("run-1", "completed")
        with pytest.raises(AssertionError, match="get_run"):
            both.get_run("run-1")
        with pytest.raises(AssertionError, match="reopen_run: one comes to null, the other to RunFinishedError"):
            both.reopen_run("run-1")


def test_nothing_else_loads_hypothesis() -> None:
    program = "import orchestrator.state_store as s, sys; s.import_all(); print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
