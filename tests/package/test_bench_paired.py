"""What `benches.paired` concludes from what it measured: the interval, the verdict, and which build that was."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import orchestrator.state_store
import pytest

from benches.paired import CONTROL, TESTED, compare, interval
from benches.paired_rows import say_build


def seconds(new: list[float], base: list[float] | None = None) -> dict[str, list[float]]:
    """Return measurements of a base that takes 1 s, unless said otherwise, and does not differ from itself."""
    base = base or [1.0] * len(new)
    return {TESTED[0]: base, TESTED[1]: new, CONTROL[0]: base, CONTROL[1]: base}


def verdict(new: list[float], base: list[float] | None = None) -> tuple[bool, list[str]]:
    slower, text = compare("work", 10, seconds(new, base))
    return slower, [cell.strip() for cell in text.strip("|").split("|")]


def coverage(count: int, lowest: int) -> float:
    """Return how often the median lies between the values of these ranks, by trying which lie below it."""
    held = [lowest <= sum(below) <= count - lowest for below in itertools.product((0, 1), repeat=count)]
    return sum(held) / len(held)


def test_the_interval_of_21_pairs_goes_from_the_sixth_to_the_sixth_last() -> None:
    assert interval([float(value) for value in reversed(range(1, 22))]) == (6, 16)


@pytest.mark.parametrize("count", range(6, 15))
def test_the_interval_is_the_narrowest_that_holds_95_percent(count: int) -> None:
    low, high = interval([float(value) for value in range(1, count + 1)])
    assert low + high == count + 1
    assert coverage(count, int(low)) >= 0.95 > coverage(count, int(low) + 1)


def test_too_few_pairs_prove_nothing() -> None:
    assert interval([2.0] * 5) == (0, math.inf)
    assert verdict([9.0] * 5)[0] is False
    assert verdict([9.0] * 6)[0] is True


def test_a_row_is_slower_where_its_whole_interval_is() -> None:
    assert verdict([1.06] * 21) == (
        True,
        ["work", "100 ms", "106 ms", "1.060", "1.060 to 1.060", "1.000", "1.000 to 1.000", "1000 ms", "**slower**"],
    )
    assert verdict([1.05] * 21)[0] is False
    assert verdict([1.04] * 6 + [1.5] * 15)[0] is False
    assert verdict([1.04] * 5 + [1.5] * 16)[0] is True


def test_pairs_are_compared_and_not_the_medians() -> None:
    # The machine gets slower all the time, so that the sides by themselves say nothing.
    base = [2.0**number for number in range(21)]
    assert verdict([value * 1.02 for value in base], base)[1][3:5] == ["1.020", "1.020 to 1.020"]


def test_a_build_that_is_not_of_its_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = Path(str(orchestrator.state_store.__file__)).parent
    monkeypatch.setattr(sys, "prefix", str(package.parent))
    say_build()
    assert str(package) in capsys.readouterr().out
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(SystemExit, match="is not in"):
        say_build()
