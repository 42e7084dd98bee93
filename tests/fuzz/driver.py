"""Runs a target on mutated inputs until the time is over or one fails."""

import faulthandler
import importlib
import random
import time
from pathlib import Path
from typing import Protocol, cast

SEEDS = Path(__file__).with_name("seeds")

HANG = 20.0
"""Seconds after which one input is taken to hang."""


class Target(Protocol):
    """What a module of a target has."""

    def mutate(self, random_: random.Random, known: list[bytes]) -> bytes:
        """Make an input from those that are known."""

    def run(self, content: bytes) -> set[str]:
        """Use an input; return what it came to."""


def load(name: str) -> Target:
    """Return a target by its name."""
    return cast(Target, importlib.import_module(f"tests.fuzz.{name}"))


def fuzz(name: str, seconds: float, seed: int, folder: str) -> dict[str, int]:
    """Run the seeds, then mutated inputs; return how many there were, and how many came to something new.

    The input in use is the file `input` in `folder`: there it is found when it has ended the process, or hangs.
    """
    target, random_ = load(name), random.Random(seed)
    current = Path(folder) / "input"
    seen: set[str] = set()
    known: list[bytes] = []

    def run(content: bytes) -> None:
        faulthandler.dump_traceback_later(HANG, exit=True)
        current.write_bytes(content)
        outcomes = target.run(content)
        if not outcomes <= seen:
            seen.update(outcomes)
            known.append(content)

    for seed_file in sorted((SEEDS / name).iterdir()):
        run(seed_file.read_bytes())
    inputs, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        run(target.mutate(random_, known))
        inputs += 1
    faulthandler.cancel_dump_traceback_later()
    current.unlink()
    return {"inputs": inputs, "outcomes": len(seen)}
