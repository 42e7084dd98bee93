"""Nobody joins another one's transaction by accident, whatever takes turns on a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import Engine
from tests.helpers import in_process
from tests.programs import frameworks

FRAMEWORKS = [
    frameworks.gevent_greenlets,
    frameworks.gevent_threads,
    frameworks.bare_greenlets,
    frameworks.trio_tasks,
    frameworks.anyio_on_asyncio,
    frameworks.anyio_on_trio,
    frameworks.twisted_coroutines,
    frameworks.twisted_generators,
    frameworks.tornado_coroutines,
    frameworks.tornado_generators,
    frameworks.tasks_of_asyncio,
]


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.__name__)
def test_sibling_is_told_that_it_wrote_nothing_and_succeeds_later(
    lasting: Engine, framework: Callable[[str], dict[str, Any]]
) -> None:
    """Its acknowledged writes once went with the roll back of the transaction that they had joined unasked."""
    mine, both = ["mine", "mine too"], ["written"] * 2
    assert in_process(framework, lasting.location) == {
        "another one's calls": ["busy at once"] * 2,
        "another one's transactions": ["busy at once"] * 2,
        "another one saw": [[[], []], [0, 0]],
        "its holder wrote": both,
        "its holder saw": [[mine, mine], [2, 2]],
        "its holder saw last": [2, 2],
        "later": both,
        "a thread": both,
        "items": [["other", "thread"]] * 2,
    }
