"""What the tests of `copy_store` share."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore

from tests.helpers import Peer, in_process
from tests.programs import copies


def filled(path: Path, items: int = 300, *, long: bool = True) -> Path:
    """Make a store of odd rows."""
    StateStore(path).close()
    in_process(copies.fill, str(path), items, long)
    return path


def rows(path: Path) -> Any:
    """Return all rows of a store, read by a process of its own."""
    return in_process(copies.rows, str(path))


def killed(src: str, dst: str, rounds: int, most_rows: int, within: int, seed: int = 1) -> Iterator[dict[str, int]]:
    """Begin a copy so many times, and kill it somewhere; yield how far each step was seen to be. Then let it end."""
    dice = random.Random(seed)
    for _ in range(rounds):
        seen: dict[str, int] = {}
        with Peer(copies.copy, src, dst, most_rows) as peer:
            left = dice.randrange(1, within)
            while left:
                step, _, done = peer.hear().partition(" ")
                seen.setdefault(f"first {step}", int(done))
                seen[step] = int(done)
                left -= step == "copy"
                # It is killed while it goes on, or while it waits.
                peer.tell()
        yield seen


def finished(src: str, dst: str, most_rows: int) -> Any:
    """Let a copy end."""
    with Peer(copies.copy, src, dst, most_rows) as peer:
        while (line := peer.hear())[0] != "{":
            peer.tell()
    return json.loads(line)
