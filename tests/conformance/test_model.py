"""Random sequences of calls, nested transactions and failures included, against a model of the API in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from orchestrator.state_store import StateStore
from orchestrator.state_store.testing import compare, sequences

from tests.conformance.conftest import Engine, examples


@pytest.fixture(scope="module")
def store(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    engine = new_engine()
    with engine.open(**engine.quick) as store:
        yield store


@examples(600)
@given(sequences)
def test_sequences_come_to_what_the_model_says(store: StateStore, sequence: list[Any]) -> None:
    compare(store, sequence)
