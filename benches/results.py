"""What pytest-benchmark measured, by row, items and contender."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.items import MADE_UP
from benches.rivals import OURS
from benches.rows import LIMIT, LIMITS, Target

Key = tuple[str, str, str]
"""A row, where its items are from, a contender."""


@dataclass
class Results:
    """The values of all rounds, in seconds (in bytes where the row is a size), and the tests that they are from."""

    values: defaultdict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    tests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, report: Path) -> Results:
        """Read the file that `--benchmark-json` writes."""
        results = cls()
        for record in json.loads(report.read_text(encoding="utf-8"))["benchmarks"]:
            results._add(record)
        return results

    def _add(self, record: dict[str, Any]) -> None:
        params, extra = record["params"], record["extra_info"]
        whole = {record["group"]: record["stats"]["median"] / extra.get("calls", 1)}
        for row, value in extra.get("values", whole).items():
            self.values[row, params["source"], params["contender"]].append(value)
            self.tests[row] = record["fullname"].partition("[")[0]

    def replace(self, other: Results) -> None:
        """Take what another run has measured instead."""
        self.values.update(other.values)

    def median(self, row: str, contender: str, source: str = MADE_UP) -> float | None:
        """Return the median over the rounds, if there was one."""
        if contender == LIMIT:
            return LIMITS[row]
        values = self.values.get((row, source, contender))
        return statistics.median(values) if values else None

    def times(self, target: Target, source: str = MADE_UP) -> float | None:
        """Return how many times ours goes into the rival's, if both were measured."""
        ours, theirs = self.median(target.row, OURS, source), self.median(target.row, target.rival, source)
        return theirs / ours if ours and theirs else None
