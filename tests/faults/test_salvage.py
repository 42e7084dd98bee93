"""A salvage keeps each row that SQLite can still read, says what is lost, and comes to an end."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

from tests.helpers import in_process
from tests.programs import salvages

FILES_A_PROCESS = 50


def test_salvage_keeps_each_row_that_sqlite_reads_and_accounts_for_the_rest(
    tmp_path: Path, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    good = str(tmp_path / "good.db")
    in_process(salvages.write_good, good)
    sums: collections.Counter[str] = collections.Counter()
    for seed in range(rounds(1, 20)):
        sums.update(in_process(salvages.compare, good, str(tmp_path), seed, FILES_A_PROCESS))
    assert sums["kept"] > sums["files"] * 500
    assert sums["lost"]
    figure(
        f"{sums['files']} files with damaged pages: {sums['kept']} rows kept, {sums['lost']} lost, 0 unaccounted for"
    )
