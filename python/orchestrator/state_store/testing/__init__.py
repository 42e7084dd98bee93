"""What any store has to do, for whoever builds another engine. It needs hypothesis: the extra `testing`.

`check` plays random sequences of calls on a store, good and bad ones, in transactions and runs, and compares what comes
of them with a model of the API in plain Python. With a second store it makes each call on both, and compares what they
return or raise, call by call.

>>> from orchestrator.state_store import StateStore
>>> from orchestrator.state_store.testing import check
>>> with StateStore(":memory:") as mine, StateStore(":memory:") as reference:
...     check(mine, reference, examples=5)
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from orchestrator.state_store.testing._pair import Pair
from orchestrator.state_store.testing._playing import compare
from orchestrator.state_store.testing._sequences import sequences

__all__ = ["Pair", "check", "compare", "sequences"]


def check(store: Any, other: Any = None, *, examples: int = 500) -> None:
    """Play random sequences of calls on a store, and see that it does what it should.

    Parameters
    ----------
    store
        A store without rows, or anything else that has the calls of `StateStore`. What is played stays in it.
    other
        Another one, on which each call is made after it: a `StateStore`, for one. None: there is the model alone.
    examples
        How many sequences. Hypothesis chooses them, and shrinks one that fails.

    Raises
    ------
    AssertionError
        When the store does something else than the model, or than the other store; the message says in which call, and
        a note of hypothesis has the sequence.
    """
    subject: Any = store if other is None else Pair(store, other)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sequences)
    def play(sequence: list[Any]) -> None:
        compare(subject, sequence)

    play()
