"""The figures that templates draw hold all values that a store can have."""

from __future__ import annotations

import math

import pytest
from orchestrator.state_store._report.shapes import Distribution, axis, share
from orchestrator.state_store._view.scores import top


@pytest.mark.parametrize(
    "values",
    [[0], [5], [-5], [0, 1], [0.1, 0.3], [99, 101], [-3, 4], [-9, -8], [1e-300], [1e300, -1e300], [1e308, -1e308]],
)
def test_an_axis_holds_its_values(values: list[float]) -> None:
    scale = axis(values)
    assert scale.low <= min(values)
    assert scale.high >= max(values)
    assert 2 <= len(scale.marks) <= 8
    for value in values:
        assert -1e-6 <= scale.place(value) <= 100 + 1e-6


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308], [1.7e308], [-1.7e308, -1.6e308], [5e-324], [0.0, 100.0]])
def test_the_largest_and_smallest_floats_are_drawn(values: list[float]) -> None:
    """Guards against sums and products that are no float any more: an infinity, or NaN in place of a step."""
    scale = axis(values)
    spread = Distribution(scale)
    for value in values:
        spread.add(value)
        assert 0 <= float(share(value, top([value]))) <= 100
    assert sum(spread.counts) == len(values)
    assert all(math.isfinite(mark) for mark in scale.marks)


def test_steps_begin_where_their_marks_are() -> None:
    spread = Distribution(axis([0, 100]))
    for value in range(0, 100, 5):
        spread.add(value)
    assert spread.counts == [1] * 20
