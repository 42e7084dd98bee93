"""The ratio gate: `python -m benches.gate` fails where the store is not as much faster as it must be.

It is wide enough for noise, and measures once more what fell short. That the levers are on is what
tests/sqlite/test_levers.py asserts, by counters.
"""

from __future__ import annotations

import sys

from benches import report
from benches.results import Results
from benches.rows import TARGETS, Target
from benches.session import measure


def fell_short(results: Results) -> list[Target]:
    """Return the targets that were measured and missed by more than the gate allows."""
    found = [(target, results.times(target)) for target in TARGETS]
    return [target for target, times in found if times is not None and times < target.gate]


def main() -> int:
    """Measure, and once more what fell short; print the table; return the exit status."""
    results = measure()
    missed = fell_short(results)
    if missed:
        print(report.targets(results, gate=True), "\nOnce more, what fell short:", sep="\n")
        results.replace(measure(tests=sorted({results.tests[target.row] for target in missed})))
        missed = fell_short(results)
    print(report.targets(results, gate=True))
    for target in missed:
        print(f"FELL SHORT: {target.row}, against {target.rival}: {results.times(target):.2f}, not {target.gate:.2f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
