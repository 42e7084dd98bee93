from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import in_process
from tests.programs import hostile

OPENING = {"NotADatabaseError", "CorruptDatabaseError", "ForeignDatabaseError", "SchemaTooNewError"}


@pytest.mark.parametrize("seed", [1, 2])
def test_flipped_bits_are_typed_errors_and_never_a_signal(tmp_path: Path, seed: int) -> None:
    outcome = in_process(hostile.flip_bits, str(tmp_path), seed, 400)
    assert set(outcome["opening"]) <= OPENING
    assert {"NotADatabaseError", "CorruptDatabaseError"} <= set(outcome["opening"])
    assert [error for error in outcome["calls"] if error.startswith("untyped")] == []
