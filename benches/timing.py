"""One call, timed by pytest-benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

SETTLED = 0.4
"""Seconds after which a store has done what a batch of 10,000 leaves to its background: the checkpoint."""

P = ParamSpec("P")
R = TypeVar("R")


def timed(benchmark: BenchmarkFixture, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Time one call as one round, and return what it returned, which is so freed outside the time measured."""
    untyped: Any = benchmark
    result: R = untyped.pedantic(function, args, kwargs)
    return result


def settle() -> None:
    """Let what was written settle, so that what is timed next is timed alone."""
    time.sleep(SETTLED)
