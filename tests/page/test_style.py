"""The stylesheet of page and report can be read by everybody, in light and dark."""

from __future__ import annotations

import re

import pytest
from orchestrator.state_store._report.rendering import style


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(each * 2 for each in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_contrast_is_enough(scheme: int) -> None:
    """WCAG AA: 4.5 for text, 3 for what has to be told from its surroundings."""
    rules = re.findall(r":root \{(.*?)\}", style(), flags=re.DOTALL)[:2]
    colours = dict(pair for rule in rules[: scheme + 1] for pair in re.findall(r"--([\w-]+): (#\w+)", rule))
    inks = ("text", "soft", "link", "ok", "bad", "part", "run", "grey", "x0", "x1", "x2", "x3")
    for ink in inks:
        for paper in ("back", "face", "row", "changed"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["silent"], colours["silent-back"]) >= 4.5
    for fill in ("ok", "bad", "part", "grey", "x0", "x1", "x2", "x3"):
        assert contrast(colours["on"], colours[fill]) >= 4.5, fill
    assert contrast(colours["bar"], colours["scale"]) >= 3
