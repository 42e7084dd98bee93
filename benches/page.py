"""Puts what was measured into a page, between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with each part between `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, text in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        between = re.compile(f"(?<={re.escape(start)}).*(?={re.escape(end)})", re.DOTALL)
        page, found = between.subn(lambda _, text=text: f"\n{text}\n", page)
        if found != 1:
            raise ValueError(f"the page has no {start} ... {end}")
    return page
