"""Opens files that somebody has tampered with."""

import collections
import random
from collections.abc import Callable
from pathlib import Path

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs.exits import item

CALLS: list[Callable[[StateStore], object]] = [
    lambda store: store.list_intel_items_for_run("run-1"),
    lambda store: store.connection.execute("SELECT * FROM runs LEFT JOIN intel_items USING (run_id)"),
    lambda store: store.upsert_intel_item(item("new")),
    lambda store: store.finish_run("run-1", "completed"),
    lambda store: store.start_run("run-2", "daily", {}),
]


def name(error: Exception) -> str:
    """Return the class of an error of ours; the whole error where it is of another kind, or of no kind."""
    known = isinstance(error, StateStoreError) and type(error) is not StateStoreError
    return type(error).__name__ if known else f"untyped: {error!r}"


def flip_bits(folder: str, seed: int, count: int) -> dict[str, dict[str, int]]:
    """Use `count` damaged copies of a store; return how often opening, and calls, raised which typed error."""
    random_ = random.Random(seed)
    opening: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    good = Path(folder) / "good.db"
    with StateStore(good) as store:
        store.start_run("run-1", "daily", {"limit": 10})
        store.upsert_intel_items_batch({**item(str(index)), "summary": "s" * 300} for index in range(60))
        store.write_telemetry("run-1", {"n": 60})
    content = good.read_bytes()
    for number in range(count):
        damaged = bytearray(content)
        for _ in range(random_.choice([1, 1, 3, 20])):
            damaged[random_.randrange(random_.choice([100, 4096, len(damaged)]))] ^= 1 << random_.randrange(8)
        path = Path(folder) / f"{number}.db"
        path.write_bytes(damaged)
        try:
            with StateStore(path, synchronous="NORMAL", busy_timeout=0.2, read_only=number % 2 == 0) as store:
                for call in CALLS:
                    try:
                        call(store)
                    except Exception as error:
                        calls[name(error)] += 1
        except Exception as error:
            opening[name(error)] += 1
        for rest in Path(folder).glob(f"{number}.db*"):
            rest.unlink()
    return {"opening": dict(opening), "calls": dict(calls)}
