"""The figures that templates draw hold all values that a store can have."""

from __future__ import annotations

import pytest
from orchestrator.state_store._report.shapes import axis


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
