"""The full run: prints the tables, writes them into docs/performance.md, and the plot beside it."""

from __future__ import annotations

from benches import machine, plot, report
from benches.items import REAL, SOURCES
from benches.page import fill
from benches.session import ROOT, measure

PAGE = ROOT / "docs" / "performance.md"
PLOT = PAGE.with_suffix(".svg")


def main() -> None:
    """Measure everything."""
    results = measure("--full")
    tables = {
        "machine": machine.describe(),
        "targets": report.targets(results),
        "medians": report.medians(results),
        "baselines": report.baselines(results),
    }
    if REAL in SOURCES:
        tables |= {"real targets": report.targets(results, REAL), "real medians": report.medians(results, REAL)}
    print(*tables.values(), sep="\n\n")
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    PLOT.write_text(plot.svg(results), encoding="utf-8")


if __name__ == "__main__":
    main()
