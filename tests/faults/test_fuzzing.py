"""Mutated files and JSON texts come to typed errors or right answers: see `tests/fuzz`."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import driver
from tests.helpers import in_process


@pytest.mark.parametrize("target", ["hostile_file", "json_text"])
def test_fuzzing_finds_nothing(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None], target: str
) -> None:
    seed = rounds(1, random.randrange(2**32))
    try:
        found = in_process(driver.fuzz, target, rounds(2, 60), seed, str(tmp_path))
    except AssertionError:
        pytest.fail(f"seed {seed}; to see it again: python -m tests.fuzz {target} {tmp_path / 'input'}")
    figure(f"{found['inputs']} inputs of seed {seed}, {found['outcomes']} outcomes, none of them wrong")
