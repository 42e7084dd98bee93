"""Opens stores whose program died, and whose write-ahead log was then cut off or damaged.

Each commit ends at a known place in the log, which was synced there before the commit was acknowledged. So a log that
is damaged at some place must give back exactly the commits that end before it.
"""

import bisect
import faulthandler
import json
import random
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.programs import hear, say
from tests.programs.exits import item
from tests.programs.hostile import HANG

CHECKPOINTED = 5
"""How many commits are in the file itself."""

COMMITS = 30
"""How many commits there are, those in the log included."""

SECTOR = 512

Row = dict[str, object]


def rows_of(commit: int) -> list[Row]:
    """Return what a commit writes: one item that every commit writes, and some of its own, of all sizes."""
    names = ["every", *(f"{commit}-{part}" for part in range(commit % 4))]
    return [{**item(name), "summary": "s" * (commit * 997 % 7000), "claims_json": commit} for name in names]


def state_after(commits: int) -> dict[str, int]:
    """Return what is there after so many commits: the ids, each with the commit that wrote it last."""
    return {str(row["item_id"]): commit for commit in range(commits) for row in rows_of(commit)}


def write(store: StateStore, commit: int) -> None:
    """Make a commit: a batch, or a transaction of single calls."""
    if commit % 3:
        store.upsert_intel_items_batch(rows_of(commit))
        return
    with store.transaction():
        for row in rows_of(commit):
            store.upsert_intel_item(row)


def write_and_wait(path: str) -> None:
    """Write, say where in the log each commit ended once it was acknowledged, and wait to be killed."""
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        for commit in range(CHECKPOINTED):
            write(store, commit)
    store, ends = StateStore(path), []
    for commit in range(CHECKPOINTED, COMMITS):
        write(store, commit)
        ends.append(end_of(Path(f"{path}-wal").read_bytes()))
    say(json.dumps(ends))
    hear()


def end_of(log: bytes) -> int:
    """Return where the last frame of a log ends; behind it are zeros that were written ahead."""
    size, end = 24 + int.from_bytes(log[8:12], "big"), 32
    while log[end + 8 : end + 16] == log[16:24]:
        end += size
    return end


def cut_off(log: bytes, ends: list[int], random_: random.Random) -> bytes:
    """Cut a log off anywhere, or at the end of a commit, or close to it."""
    near = random_.choice(ends) + random_.choice([0, 0, -1, 1, -SECTOR, SECTOR])
    return log[: random_.choice([random_.randrange(len(log)), near])]


def damage(log: bytes, random_: random.Random) -> bytes:
    """Flip a bit of a log, or have a sector of it read as zeros or noise."""
    damaged, place = bytearray(log), random_.randrange(len(log))
    kind = random_.choice(["bit", "zeros", "noise"])
    if kind == "bit":
        damaged[place] ^= 1 << random_.randrange(8)
        return bytes(damaged)
    sector = slice(place // SECTOR * SECTOR, min(place // SECTOR * SECTOR + SECTOR, len(log)))
    length = sector.stop - sector.start
    damaged[sector] = bytes(length) if kind == "zeros" else random_.randbytes(length)
    return bytes(damaged)


def first_difference(one: bytes, other: bytes) -> int:
    """Return how many bytes two contents have in common at their start."""
    shorter = min(len(one), len(other))
    return bisect.bisect_left(range(shorter), True, key=lambda place: one[: place + 1] != other[: place + 1])


def check(path: Path, commits: int) -> None:
    """Check that a store holds exactly so many commits, each whole, and that it can be written on."""
    with StateStore(path, synchronous="NORMAL") as store:
        there = {each["item_id"]: each["claims_json"] for each in store.list_intel_items_for_run("run-1")}
        assert there == state_after(commits), (path, commits, there)
        assert store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
        store.upsert_intel_item(item("afterwards"))
    with StateStore(path, read_only=True) as store:
        assert len(store.list_intel_items_for_run("run-1")) == len(there) + 1, path


def open_damaged(good: str, ends: list[int], folder: str, seed: int, count: int) -> dict[str, int]:
    """Open copies whose log is cut off or damaged; return how many there were, and how many had lost a commit.

    Each copy is a function of the seed and its number, and is there as long as it is used.
    """
    content, log = Path(good).read_bytes(), Path(f"{good}-wal").read_bytes()
    losers = 0
    for number in range(count):
        faulthandler.dump_traceback_later(HANG, exit=True)
        random_ = random.Random(f"{seed}-{number}")
        damaged = cut_off(log, ends, random_) if number % 2 else damage(log, random_)
        path = Path(folder) / f"{seed}-{number}.db"
        path.write_bytes(content)
        path.with_name(f"{path.name}-wal").write_bytes(damaged)
        # The index of the log means nothing without the processes that shared it.
        path.with_name(f"{path.name}-shm").write_bytes(random_.randbytes(random_.choice([0, 5, 32768])))
        kept = CHECKPOINTED + bisect.bisect_right(ends, first_difference(log, damaged))
        losers += kept < COMMITS
        check(path, kept)
        for each in Path(folder).glob(f"{path.name}*"):
            each.unlink()
    faulthandler.cancel_dump_traceback_later()
    return {"opened": count, "lost a commit": losers}
