"""The clock is set while stores are open, or jumps: lists are in the order of recording, nothing young goes by age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import in_process
from tests.programs import clocks

YEARS = 12 * 365 * 86_400
DAY = 86_400


@pytest.mark.parametrize("seconds", [-1.4, -30, -3_600, 3_000, YEARS])
def test_a_clock_that_is_set_and_set_right_again(path: Path, fault: Callable[[str], None], seconds: float) -> None:
    """A run is started by the wild clock before the prune: the newest time in the file is no proof."""
    fault("")
    seen = in_process(clocks.step, str(path), seconds)
    assert seen["runs"] == seen["since"] == ["after", "stepped", "before"]
    assert seen["items"] == ["before", "stepped", "after"]
    assert seen["iterated"] == seen["items"][::-1]
    assert seen["next page"] == ["stepped", "after"]
    assert seen["kept while wild"] == 6
    assert [told is not None for told in seen["wild"]] == [seconds == YEARS] * 2
    assert seen["pruned"] == 0
    assert seen["recovered at once"] == []
    assert seen["recovered later"] == ["silent", "dead"]
    assert seen["kept"] == ["after"]


@pytest.mark.parametrize("opened", ["before", "after"])
@pytest.mark.parametrize("days", [3, 31, 390])
def test_a_pause_refuses_nothing(path: Path, fault: Callable[[str], None], days: int, opened: str) -> None:
    """Of a file that nobody used, or of a system that was suspended with the store open."""
    fault("")
    assert in_process(clocks.idle, str(path), "suspend", days * DAY, opened) == [None] * 3


@pytest.mark.parametrize(("opened", "says"), [("before", "since the store was opened"), ("after", "newest time")])
def test_a_clock_that_jumps_is_not_trusted(path: Path, fault: Callable[[str], None], opened: str, says: str) -> None:
    fault("")
    told = in_process(clocks.idle, str(path), "time", YEARS, opened)
    assert [says in (each or "") and "trust_clock=True" in (each or "") for each in told] == [True] * 3, told


def test_a_clock_before_1970_is_a_clock(path: Path, fault: Callable[[str], None]) -> None:
    fault("")
    recorded, found = in_process(clocks.long_ago, str(path))
    assert recorded.startswith("196")
    assert found == []
