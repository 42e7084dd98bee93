"""Times the store on a throw-away PostgreSQL server against what one would write without it.

`python -m benches.postgres` does each row with every contender by turns, and prints the medians, the round trips, and
the medians of the ratios within each round. With `--gate` it fails where a ratio is less than 60 % of its target.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg

from benches.items import MADE_UP, make_items
from benches.proxy import Proxy
from benches.report import line
from benches.rivals.postgres import CONTENDERS, Contender, connect
from tests.servers import Server

OURS, SQLALCHEMY, EXECUTEMANY, FILE = CONTENDERS
GATE = 0.6
SLOW = 0.002
"""Seconds that a round trip takes through the proxy that is slow."""

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One work: `prepare` makes it, in the run of a contender; `targets` are ratios to rivals."""

    name: str
    prepare: Callable[[Contender, str], Work]
    targets: dict[str, float]
    slow: bool = False
    calls: int = 1


def new(count: int) -> Callable[[Contender, str], Work]:
    """Return what prepares a batch of items that are not there."""

    def prepare(store: Contender, run_id: str) -> Work:
        first = next(FIRST) * 100_000
        items = make_items(MADE_UP, run_id, count, first=first)
        return lambda: store.upsert_batch(items)

    return prepare


def again(store: Contender, run_id: str) -> Work:
    """Prepare a batch that is there already."""
    items = make_items(MADE_UP, run_id)
    store.upsert_batch(items)
    return lambda: store.upsert_batch(items)


def changed(store: Contender, run_id: str) -> Work:
    """Prepare a batch that is there with other titles."""
    items = make_items(MADE_UP, run_id, revision=next(FIRST))
    return lambda: store.upsert_batch(items)


def listed(store: Contender, run_id: str) -> Work:
    """Prepare a list of 10,000 items."""
    store.upsert_batch(make_items(MADE_UP, run_id))
    return lambda: store.list_run(run_id)


def singles(store: Contender, run_id: str) -> Work:
    """Prepare 50 durable writes, one after the other."""
    items = make_items(MADE_UP, run_id, 50, first=next(FIRST) * 100_000)

    def work() -> None:
        for item in items:
            store.upsert(item)

    return work


def threads(store: Contender, run_id: str) -> Work:
    """Prepare 8 threads with 50 durable writes each."""
    items = make_items(MADE_UP, run_id, 400, first=next(FIRST) * 100_000)

    def some(part: int) -> None:
        for item in items[part::8]:
            store.upsert(item)

    def work() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(some, range(8)))

    # So that every thread's session is open.
    work()
    items = make_items(MADE_UP, run_id, 400, first=next(FIRST) * 100_000)
    return work


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


FIRST = _numbers()
ROWS = (
    Row("new 10,000", new(10_000), {SQLALCHEMY: 2.3, EXECUTEMANY: 1.5}),
    Row("unchanged 10,000", again, {SQLALCHEMY: 4}),
    Row("changed 10,000", changed, {SQLALCHEMY: 1.6}),
    Row("list 10,000", listed, {SQLALCHEMY: 2.5}),
    Row("one, durable", singles, {SQLALCHEMY: 1.7}, calls=50),
    Row("8 x 50, durable", threads, {SQLALCHEMY: 1.7}),
    Row("new 60,000", new(60_000), {SQLALCHEMY: 2.5}),
    Row("one, at 2 ms", singles, {SQLALCHEMY: 2.3}, slow=True, calls=50),
    Row("new 2,000, at 2 ms", new(2_000), {SQLALCHEMY: 3.5}, slow=True),
    Row("list 10,000, at 2 ms", listed, {SQLALCHEMY: 2.5}, slow=True),
)
SEEN = Row("unchanged 10,000, a minute later", again, {SQLALCHEMY: 2.5})


@dataclass
class Bench:
    """A server, and a slow proxy before it."""

    server: Server
    slow: Proxy

    def url(self, proxy: Proxy | None) -> str:
        """Return where the server is, by a proxy or its socket."""
        if proxy is None:
            return self.server.url
        return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable&gssencmode=disable"

    @contextmanager
    def opened(self, name: str, proxy: Proxy | None) -> Iterator[Contender]:
        """Open a contender in a schema of its own, which is gone behind it."""
        schema = f"bench_{next(FIRST)}"
        with psycopg.connect(self.server.url, autocommit=True) as session:
            if name in (SQLALCHEMY, EXECUTEMANY):
                session.execute(f"CREATE SCHEMA {schema}".encode())
            contender: Contender = CONTENDERS[name](self.url(proxy), schema)
            self.schema = schema
            try:
                yield contender
            finally:
                contender.close()
                session.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
                session.execute(b"CHECKPOINT")

    def age(self) -> None:
        """Have the items of the store have come some time ago."""
        with connect(self.server.url, self.schema) as session:
            session.execute("UPDATE intel_items SET created_at = '2020-01-01T00:00:00+00:00', updated_at = NULL")


def timed(work: Work) -> float:
    """Return the seconds that a work takes."""
    gc.collect()
    gc.disable()
    began = time.perf_counter()
    result = work()
    took = time.perf_counter() - began
    gc.enable()
    del result
    return took


def measure(bench: Bench, row: Row, name: str) -> tuple[float, float | None]:
    """Return the seconds of a call, and its round trips."""
    with bench.opened(name, bench.slow if row.slow and name != FILE else None) as contender:
        contender.start_run("run")
        if row.prepare is changed:
            contender.upsert_batch(make_items(MADE_UP, "run"))
        contender.upsert(make_items(MADE_UP, "run", 1, first=99_999)[0])
        work = row.prepare(contender, "run")
        if row is SEEN and name == OURS:
            bench.age()
        before = bench.slow.waits()
        took = timed(work) / row.calls
        trips = (bench.slow.waits() - before) / row.calls
    return took, trips if row.slow else None


def main() -> int:
    """Measure and print; return 1 where the gate is shut."""
    parser = argparse.ArgumentParser(prog="python -m benches.postgres", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", nargs="+", default=[""], metavar="TEXT", help="rows with one of these in the name")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    rows = [row for row in (*ROWS, SEEN) if any(text in row.name for text in options.rows)]
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    trips: dict[tuple[str, str], float | None] = {}
    with ExitStack() as stack:
        server = stack.enter_context(Server())
        bench = Bench(server, stack.enter_context(Proxy(server.port, SLOW)))
        for number in range(options.rounds):
            for row in rows:
                for name in options.contenders[:: -1 if number % 2 else 1]:
                    took, trips[row.name, name] = measure(bench, row, name)
                    seconds[row.name, name].append(took)
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return report(rows, options.contenders, seconds, trips, gate=options.gate)


def report(
    rows: list[Row],
    names: list[str],
    seconds: dict[tuple[str, str], list[float]],
    trips: dict[tuple[str, str], float | None],
    *,
    gate: bool,
) -> int:
    """Print the tables; return 1 where the gate is shut."""
    print(line(("ms", *names)), line(["---"] * (len(names) + 1)), sep="\n")
    for row in rows:
        cells = []
        for name in names:
            waits = trips[row.name, name]
            behind = "" if waits is None else f" ({waits:g})"
            cells.append(f"{statistics.median(seconds[row.name, name]) * 1000:.2f}{behind}")
        print(line((row.name, *cells)))
    print("\nIn brackets: how often the client waited for the server.\n")
    print(line(("work", "against", "target", "found", "of the rounds")), line(["---"] * 5), sep="\n")
    shut = 0
    for row in rows:
        for rival in (name for name in names if name != OURS and OURS in names):
            ratios = sorted(
                theirs / ours for ours, theirs in zip(seconds[row.name, OURS], seconds[row.name, rival], strict=True)
            )
            target = row.targets.get(rival)
            found = statistics.median(ratios)
            shut |= gate and target is not None and found < GATE * target
            wanted = "" if target is None else f">= {target:g}"
            print(line((row.name, rival, wanted, f"{found:.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}")))
    return int(shut)


if __name__ == "__main__":
    sys.exit(main())
