"""A file that somebody made to do harm, or it and its write-ahead log: typed errors, and nothing else."""

import random
import tempfile
from pathlib import Path

from tests.fuzz import pages
from tests.fuzz.mutations import flip
from tests.programs.hostile import use

LOG = b"\n-- write-ahead log --\n"
"""What is between the file and its log in an input."""


def mutate(random_: random.Random, known: list[bytes]) -> bytes:
    """Change a file, or leave it as it is and bring the change in by a log."""
    base, _, log = random_.choice(known).partition(LOG)
    changed = pages.mutate(base, random_)
    if not log:
        if random_.random() < 0.7:
            return changed
        return base + LOG + pages.log_of(base, changed, random_)
    damaged = bytearray(log)
    flip(damaged, random_)
    return random_.choice([changed + LOG + log, base + LOG + damaged, base])


def run(content: bytes) -> set[str]:
    """Open it for reading, then for writing, and make every call."""
    base, _, log = content.partition(LOG)
    outcomes = set()
    for read_only in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.db"
            path.write_bytes(base)
            if log:
                path.with_name("state.db-wal").write_bytes(log)
            errors = use(path, read_only=read_only)
        assert not any(error.startswith("untyped") for error in errors), errors
        outcomes.add("|".join(errors))
    return outcomes
