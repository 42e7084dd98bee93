"""The table as a picture: bars, a group a row, in an SVG written by hand."""

from __future__ import annotations

from html import escape

from benches.results import Results
from benches.rivals import ALL, OURS
from benches.rows import BATCH_AGAIN, BATCH_CHANGED, BATCH_NEW, LIST, SINGLE_FULL, SINGLE_NORMAL, THREADS, value_text

PLOTTED = (BATCH_NEW, BATCH_AGAIN, BATCH_CHANGED, LIST, SINGLE_FULL, SINGLE_NORMAL, THREADS)
COLOURS = dict(zip(ALL, ("#d1495b", "#30638e", "#5b8db8", "#8fb3d3", "#9aa5b1", "#c3cad2"), strict=True))
LABEL, BAR, MARGIN = 110, 420, 16
THICKNESS, GAP, HEADING = 15, 22, 18
STYLE = "text{font:12px sans-serif;fill:#333}.row{font-weight:bold}"


def svg(results: Results) -> str:
    """Return the picture. In each group the longest bar is the slowest, so that groups cannot be compared."""
    parts: list[str] = []
    y = MARGIN
    for row in PLOTTED:
        times = {name: value for name in ALL if (value := results.median(row, name)) is not None}
        if not times:
            continue
        y += HEADING
        parts.append(f'<text class="row" x="{MARGIN}" y="{y - 6}">{escape(row)}</text>')
        for name, value in times.items():
            parts += _bar(name, row, value, value / max(times.values()), y)
            y += THICKNESS
        y += GAP
    width, height = MARGIN * 2 + LABEL + BAR + 150, y
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    title = "<title>How long each takes; shorter is better</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", _background(width, height), *parts, "</svg>", ""])


def _background(width: int, height: int) -> str:
    return f'<rect width="{width}" height="{height}" fill="#fff"/>'


def _bar(name: str, row: str, value: float, share: float, y: int) -> list[str]:
    x, length, base = MARGIN + LABEL, max(1.0, share * BAR), y + THICKNESS - 4
    weight = ' font-weight="bold"' if name == OURS else ""
    return [
        f'<text x="{x - 6}" y="{base}" text-anchor="end"{weight}>{escape(name)}</text>',
        f'<rect x="{x}" y="{y + 1}" width="{length:.1f}" height="{THICKNESS - 2}" fill="{COLOURS[name]}"/>',
        f'<text x="{x + length + 6:.1f}" y="{base}"{weight}>{escape(value_text(row, value))}</text>',
    ]
