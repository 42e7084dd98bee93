"""The rows of the table, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass

from benches.rivals import APSW, SQLITE3

BATCH_NEW = "batch of 10,000, new"
BATCH_AGAIN = "batch of 10,000, the same again at once"
BATCH_AGAIN_SETTLED = "batch of 10,000, the same again, settled"
BATCH_CHANGED = "batch of 10,000, changed"
LIST_AT_ONCE = "list 10,000, at once"
LIST = "list 10,000, settled"
SINGLE_FULL = "single upsert, FULL"
SINGLE_NORMAL = "single upsert, NORMAL"
SINGLE_NEW_FILE = "single upsert, FULL, in a new file"
THREADS = "8 threads x 50 single upserts, FULL"
STALL_BATCH = "longest stall of a thread, batch of 60,000"
STALL_LIST = "longest stall of a thread, list of 60,000"
LARGE_BATCH = "batch of 10,000, file of 1,000,000"
LARGE_LIST = "list 10,000, file of 1,000,000"
STREAM = "stream of 1,000,000 items, an item"
STREAM_MEMORY = "stream of 1,000,000 items, memory"
SUSTAINED = "sustained batches and singles, an item"
SUSTAINED_CALL = "sustained, longest call"
SUSTAINED_LOG = "sustained, largest log"
PROCESS = "process: import, open, first write"
IMPORTED_ANYWAY = "asyncio, dataclasses, json, logging, pathlib, typing"
"""What an orchestrator has imported by then, whichever store it uses."""

LIST_WHERE = "list 10,000, where a score is over 80"
PRUNE_WAIT = "prune half of 1,000,000 items: longest wait of a writer"
PRUNE = "prune half of 1,000,000 items, an item"
VACUUM = "vacuum after that, a MB"

GET_RUN = "get one of 30,000 runs"
LIST_RUNS = "list 50 of 30,000 runs, slowest filter"
COUNT_RUNS = "count 30,000 runs, slowest filter"
GET_ITEM = "get one of 1,000,000 items"
LIST_ITEMS = "list 50 of 1,000,000 items, slowest filter"
COUNT_ITEMS = "count 1,000,000 items, slowest filter"
COUNT_ITEMS_OF_RUN = "count the 10,000 items of a run among 1,000,000"

ROWS = (
    BATCH_NEW,
    BATCH_AGAIN,
    BATCH_AGAIN_SETTLED,
    BATCH_CHANGED,
    LIST_AT_ONCE,
    LIST,
    SINGLE_FULL,
    SINGLE_NORMAL,
    SINGLE_NEW_FILE,
    THREADS,
    STALL_BATCH,
    STALL_LIST,
    LARGE_BATCH,
    LARGE_LIST,
    STREAM,
    STREAM_MEMORY,
    SUSTAINED,
    SUSTAINED_CALL,
    SUSTAINED_LOG,
    PROCESS,
    GET_RUN,
    LIST_RUNS,
    COUNT_RUNS,
    GET_ITEM,
    LIST_ITEMS,
    COUNT_ITEMS,
    COUNT_ITEMS_OF_RUN,
    LIST_WHERE,
    PRUNE,
    PRUNE_WAIT,
    VACUUM,
)
IN_BYTES = (SUSTAINED_LOG, STREAM_MEMORY)

DOCUMENT = "orjson, one document"
"""Not a contender: `orjson.loads` of a run's items as one document, which is what building the objects costs."""

EMPTY_FILE = "an empty file"
"""This package itself, in a new file."""

UNFILTERED = "the whole list"
"""This package itself, without the filter."""

LIMIT = "limit"
SUSTAINED_BATCH = 1_000
LIMITS = {
    STALL_BATCH: 0.015,
    STALL_LIST: 0.015,
    STREAM_MEMORY: 64_000_000,
    PRUNE_WAIT: 0.05,
    GET_RUN: 0.002,
    LIST_RUNS: 0.002,
    COUNT_RUNS: 0.020,
    GET_ITEM: 0.002,
    LIST_ITEMS: 0.002,
    COUNT_ITEMS: 0.050,
    COUNT_ITEMS_OF_RUN: 0.020,
    # The bound, and over it the largest batch, at a page an item.
    SUSTAINED_LOG: (64 << 20) + SUSTAINED_BATCH * 4096,
}

GATE_SHARE = 0.6
GATE_AGAINST_APSW = 0.7
"""Single upserts at NORMAL are at 0.81: each commit looks whether the file is in its place, and writes to a log that is
too large for the processor's cache. No rival does either."""


@dataclass(frozen=True)
class Target:
    """How many times the rival's value ours has to go into: 2 is twice as fast, 0.5 is at most twice the time."""

    row: str
    rival: str
    times: float

    @property
    def gate(self) -> float:
        """What CI insists on: noise never gets there."""
        share = GATE_SHARE * self.times
        return max(share, GATE_AGAINST_APSW) if self.rival == APSW else share

    def __str__(self) -> str:
        """Say it as the issue does."""
        if self.rival == LIMIT:
            return f"<= {value_text(self.row, LIMITS[self.row])}"
        if self.times < 1:
            return f"<= {1 / self.times:.2f}x the time"
        return f">= {self.times:.2f}x"


TARGETS = (
    Target(BATCH_NEW, APSW, 2),
    Target(BATCH_NEW, SQLITE3, 4.3),
    Target(BATCH_AGAIN, APSW, 2),
    Target(BATCH_AGAIN_SETTLED, APSW, 2),
    Target(LIST_AT_ONCE, APSW, 1.3),
    Target(LIST, APSW, 1.3),
    Target(LIST, DOCUMENT, 1 / 1.15),
    Target(SINGLE_FULL, APSW, 1.1),
    Target(SINGLE_NORMAL, APSW, 1.2),
    Target(SINGLE_NEW_FILE, APSW, 1),
    Target(THREADS, APSW, 4),
    Target(STALL_BATCH, LIMIT, 1),
    Target(STALL_LIST, LIMIT, 1),
    Target(LARGE_BATCH, EMPTY_FILE, 1 / 1.5),
    Target(LARGE_LIST, EMPTY_FILE, 1 / 1.5),
    Target(STREAM_MEMORY, LIMIT, 1),
    Target(SUSTAINED, APSW, 1),
    Target(SUSTAINED_LOG, LIMIT, 1),
    Target(PROCESS, SQLITE3, 1 / 1.1),
    *(
        Target(row, LIMIT, 1)
        for row in (GET_RUN, LIST_RUNS, COUNT_RUNS, GET_ITEM, LIST_ITEMS, COUNT_ITEMS, COUNT_ITEMS_OF_RUN, PRUNE_WAIT)
    ),
    Target(LIST_WHERE, UNFILTERED, 1 / 3),
)


def value_text(row: str, value: float) -> str:
    """Return a value of a row as people read it."""
    if row in IN_BYTES:
        return f"{value / (1 << 20):.1f} MiB"
    if value >= 1e-3:
        return f"{value * 1e3:.{1 if value < 0.1 else 0}f} ms"
    return f"{value * 1e6:.{1 if value < 1e-4 else 0}f} us"
