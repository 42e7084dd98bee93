"""Deep and circular values are an exception or a round trip, on any stack, and never a signal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import in_process
from tests.programs import deep

STACKS = {"256 KiB": 256 * 1024, "8 MiB": 8 * 1024 * 1024}
DEPTHS = [1, 127, 128, 129, 500, 900, 990, 1000, 100_000, 1_000_000]
SURE = DEPTHS.index(900) + 1
"""Up to which depth the `json` module can always go, where the stack is large."""

BEYOND = DEPTHS.index(100_000)
"""From which depth it never can."""


@pytest.mark.parametrize("kind", deep.KINDS)
@pytest.mark.parametrize("stack", STACKS)
def test_deep_value_is_read_back_or_a_recursion_error(kind: str, stack: str, figure: Callable[[str], None]) -> None:
    outcomes = in_process(deep.write_and_read, STACKS[stack], kind, DEPTHS)
    sure = SURE if stack == "8 MiB" else 1
    assert outcomes[:sure] == ["equal"] * sure
    assert set(outcomes[sure:BEYOND]) <= {"equal", "NestingTooDeepError"}
    assert outcomes[BEYOND:] == ["NestingTooDeepError"] * 2
    figure(f"equal to {DEPTHS[outcomes.count('equal') - 1]} levels, refused at 1,000,000")


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("stack", STACKS)
def test_deep_text_of_another_program_is_read_or_a_recursion_error(path: Path, kind: str, stack: str) -> None:
    outcomes = in_process(deep.read_texts, str(path), STACKS[stack], kind, DEPTHS)
    sure = SURE if stack == "8 MiB" else 1
    assert outcomes[:sure] == ["equal"] * sure
    assert set(outcomes) <= {"equal", "NestingTooDeepError"}


@pytest.mark.parametrize("stack", STACKS)
def test_circular_value_is_a_value_error(stack: str) -> None:
    outcomes = in_process(deep.write_cycles, STACKS[stack])
    assert outcomes == dict.fromkeys(deep.CYCLES, "InvalidValueError")
