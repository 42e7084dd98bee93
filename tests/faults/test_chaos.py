"""Faults that come together, on processes that do everything at once: see `tests/faults/chaos.py`.

Each is harmless by itself, by the tests beside this one. What one leaves behind may be what another stumbles over.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import chaos


def test_nothing_is_lost_torn_or_late_in_chaos(
    tmp_path: Path,
    tool: Callable[[str], str],
    request: pytest.FixtureRequest,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
) -> None:
    tool("cc")
    seed = rounds(1, random.randrange(2**32))
    figures, wrong = chaos.run(tmp_path, request.getfixturevalue("preload"), rounds(20, 120), seed)
    assert not wrong, f"seed {seed}; to see it again: python -m tests.faults.chaos --minutes 2 --seed {seed}"
    figure(figures)
