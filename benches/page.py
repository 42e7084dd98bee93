"""Puts what was measured into a page, between its markers."""

from __future__ import annotations

import re
from collections.abc import Mapping


def fill(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with each part between `<!-- NAME -->` and `<!-- /NAME -->`."""
    for name, text in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if not re.search(f"{re.escape(start)}.*{re.escape(end)}", page, re.DOTALL):
            raise ValueError(f"the page has no {start} ... {end}")
        before, _, rest = page.partition(start)
        page = f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}"
    return page
