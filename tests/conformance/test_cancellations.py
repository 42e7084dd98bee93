"""A run whose task is cancelled is `cancelled`, and not `failed`, whatever the framework."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.conftest import Engine
from tests.helpers import in_process
from tests.programs import cancellations


@pytest.mark.parametrize(
    ("framework", "ends"),
    [
        (
            cancellations.trio_tasks,
            {
                "in a scope": "cancelled",
                "around a nursery": "cancelled",
                "beside a failure": "failed",
                "of its own": "completed",
            },
        ),
        (cancellations.anyio_tasks, {"asyncio": "cancelled", "trio": "cancelled"}),
        (cancellations.gevent_greenlets, {"killed": "cancelled", "timed out": "failed"}),
        (cancellations.bare_greenlets, {"killed": "cancelled"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_run_ends_as_its_task_does(
    lasting: Engine, framework: Callable[[str], dict[str, str]], ends: dict[str, str]
) -> None:
    assert in_process(framework, lasting.location) == ends
