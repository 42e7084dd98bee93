"""Other code of the process closes the store's descriptors: `os.closerange`, as of a daemon, or `os.close` twice.

Whatever is opened next has their numbers. Commits went into it and were acknowledged, and `close` removed the log.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import in_process
from tests.programs import descriptors


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("which", ["all", "", "-wal"])
def test_what_is_opened_in_the_place_of_the_store_is_not_written_to(run_path: Path, which: str, reused: bool) -> None:
    found = in_process(descriptors.closed, str(run_path), which, reused)
    assert found["overwritten"] == []
    assert found["lost"] == []
    assert found["damage"] == []
    assert "Unknown" not in found["told"]
    assert "other code of this process has closed the store's file" in found["told"]
