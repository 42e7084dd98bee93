"""Numbers come back as they were, to the bit."""

from __future__ import annotations

import array
import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import stored
from tests.programs import plain

Figure = Callable[[str], None]

DOUBLES_A_LIST = 10_000


@pytest.fixture(scope="module")
def shared() -> Iterator[StateStore]:
    with StateStore(":memory:") as store:
        store.start_run("run-1", "daily", {})
        yield store


def doubles(random_: random.Random, count: int) -> list[float]:
    """Return doubles of all kinds: any bits, decimals as people write them, whole, tiny, close to a power of ten."""
    kinds: list[Callable[[], float]] = [
        lambda: struct.unpack("<d", random_.randbytes(8))[0],
        lambda: round(random_.uniform(-1000, 1000), random_.randrange(8)),
        lambda: float(random_.randrange(2**53 - 9, 2**70)),
        lambda: random_.randrange(1, 2**52) * 5e-324,
        lambda: math.nextafter(float(f"1e{random_.randrange(-320, 308)}"), random_.choice([0.0, math.inf])),
    ]
    return [random_.choice(kinds)() for _ in range(count)]


def bits(numbers: list[float]) -> bytes:
    """Return the bits of doubles, those of every NaN alike: JSON has but one."""
    return array.array("d", [math.nan if math.isnan(number) else number for number in numbers]).tobytes()


def test_double_is_equal_to_the_bit(shared: StateStore, rounds: Callable[[int, int], int], figure: Figure) -> None:
    lists = rounds(20, 100)
    for seed in range(lists):
        numbers = [math.nan, math.inf, -math.inf, -0.0, 0.0, *doubles(random.Random(seed), DOUBLES_A_LIST)]
        assert bits(stored(shared, numbers)) == bits(numbers), seed
    figure(f"{lists * DOUBLES_A_LIST:,} doubles, bit-equal")


@pytest.mark.parametrize("form", ["%.17g", "%.16e", "%.30e", "%.800e"])
def test_decimal_of_another_program_is_the_double_next_to_it(
    path: Path, rounds: Callable[[int, int], int], figure: Figure, form: str
) -> None:
    """A fast parser is wrong in the last bit where a decimal has more digits than a double."""
    count = rounds(2000, 50_000) if len(form) < 6 else rounds(500, 5000)
    numbers = [number for number in doubles(random.Random(form), count) if math.isfinite(number)]
    texts = [form % number for number in numbers]
    StateStore(path).close()
    plain.record(str(path), [f"[{', '.join(texts)}]"])
    with StateStore(path) as store:
        [item] = store.list_intel_items_for_run("0")
    assert bits(item["claims_json"]) == bits([json.loads(text) for text in texts])
    figure(f"{len(texts):,} decimals of the form {form}")


def test_integer_of_any_size_stays_one(shared: StateStore) -> None:
    """Those beyond 64 bits are not made floats."""
    near_powers = [sign * (2**power + offset) for power in range(1100) for offset in (-1, 0, 1) for sign in (1, -1)]
    back = stored(shared, near_powers)
    assert back == near_powers
    assert {type(number) for number in back} == {int}
