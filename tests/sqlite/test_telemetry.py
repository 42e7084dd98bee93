"""Telemetry that another program wrote, and that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import InvalidJSONError, StateStore

from tests.helpers import plain_sqlite


@pytest.mark.parametrize("document", ["'{'", "x'ff'"])
def test_document_of_another_program_that_is_none_names_the_run(run_path: Path, document: str) -> None:
    plain_sqlite(run_path, f"INSERT INTO telemetry VALUES ('run-1', {document}, 'now')")
    with (
        StateStore(run_path) as store,
        pytest.raises(InvalidJSONError, match=r'get_telemetry "run-1": .*telemetry_json'),
    ):
        store.get_telemetry("run-1")
