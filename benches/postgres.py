"""Times the store on a throw-away PostgreSQL server against what one would write without it.

`python -m benches.postgres` does each row with every contender by turns, and prints the medians, the round trips, and
the medians of the ratios within each round; with `--write` it puts them into docs/performance.md. With `--gate` it does
so in two minutes, once more where a ratio is less than 60 % of its target, and then fails.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from benches import machine
from benches.items import MADE_UP, make_items
from benches.page import fill
from benches.proxy import Proxy
from benches.report import line
from benches.rivals.postgres import CONTENDERS, Contender, Ours, connect
from benches.session import ROOT
from benches.watcher import Watcher
from tests.servers import Server

OURS, SQLALCHEMY, EXECUTEMANY, FILE = CONTENDERS
PAGE = ROOT / "docs" / "performance.md"
GATE = 0.6
"""Of each target: less is a failure."""

ROUNDS, GATE_ROUNDS = 7, 3
LONGEST_STALL = 0.02
"""Seconds that another thread may be kept waiting."""

SLOW = 0.002
"""Seconds that a round trip takes through the proxy that is slow."""

AS_IT_COMES = {"shared_buffers": "128MB", "wal_level": "replica", "max_wal_senders": "10"}
"""PostgreSQL's own values of what a server of the tests has otherwise."""

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One work: `prepare` makes it, in the run of a contender; `targets` are ratios to rivals.

    A row about stalls has none: of it, how long another thread is kept waiting is measured, of the store alone.
    """

    name: str
    prepare: Callable[[Contender, str], Work]
    targets: dict[str, float]
    slow: bool = False
    calls: int = 1
    gate: float = GATE


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


def filtered(store: Contender, run_id: str) -> Work:
    """Prepare a list of those of 60,000 items of which a condition holds: every fifth."""
    assert isinstance(store, Ours)
    store.upsert_batch(make_items(MADE_UP, run_id, 60_000))
    return store.list_high_scores


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
    # The target is from before SQLAlchemy sent a batch as one pipeline.
    Row("new 2,000, at 2 ms", new(2_000), {SQLALCHEMY: 3.5}, slow=True, gate=0.5),
    Row("list 10,000, at 2 ms", listed, {SQLALCHEMY: 2.5}, slow=True),
)
STALLS = (
    Row("longest stall, new 60,000", new(60_000), {}),
    Row("longest stall, where in 60,000", filtered, {}),
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
    with quiet():
        began = time.perf_counter()
        result = work()
        took = time.perf_counter() - began
    del result
    return took


def stalled(work: Work) -> float:
    """Return the seconds that another thread is kept waiting at most while it is done."""
    # A real-time scheduler pauses whoever has worked for nearly all of a second.
    time.sleep(1)
    with quiet():
        watcher = Watcher()
        result = work()
        longest = watcher.stop()
    del result
    return longest


@contextmanager
def quiet() -> Iterator[None]:
    """Have the cycle collector do its work before and after."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def measure(bench: Bench, row: Row, name: str) -> tuple[float, float | None]:
    """Return the seconds of a call or of the longest stall meanwhile, and the round trips of a call."""
    with bench.opened(name, bench.slow if row.slow and name != FILE else None) as contender:
        contender.start_run("run")
        if row.prepare is changed:
            contender.upsert_batch(make_items(MADE_UP, "run"))
        contender.upsert(make_items(MADE_UP, "run", 1, first=99_999)[0])
        work = row.prepare(contender, "run")
        if row is SEEN and name == OURS:
            bench.age()
        if row in STALLS:
            return stalled(work), None
        before = bench.slow.waits()
        took = timed(work) / row.calls
        trips = (bench.slow.waits() - before) / row.calls
    return took, trips if row.slow else None


@dataclass
class Results:
    """The seconds of each round, by row and contender, and the round trips of the last."""

    names: list[str]
    seconds: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    trips: dict[tuple[str, str], float | None] = field(default_factory=dict)

    def measure(self, bench: Bench, rows: Iterable[Row], rounds: int) -> None:
        """Measure rows, instead of what is there of them."""
        for row in rows:
            for name in self.names:
                self.seconds[row.name, name].clear()
        for number in range(rounds):
            for row in rows:
                for name in self._of(row)[:: -1 if number % 2 else 1]:
                    took, self.trips[row.name, name] = measure(bench, row, name)
                    self.seconds[row.name, name].append(took)
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def _of(self, row: Row) -> list[str]:
        return [name for name in self.names if name == OURS or row not in STALLS]

    def ratios(self, row: Row, rival: str) -> list[float]:
        """Return how much longer a rival takes, by round, the least first."""
        pairs = zip(self.seconds[row.name, OURS], self.seconds[row.name, rival], strict=True)
        return sorted(theirs / ours for ours, theirs in pairs)

    def fell_short(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows that the gate is shut for."""
        return [
            row
            for row in rows
            for rival, target in row.targets.items()
            if rival in self.names and statistics.median(self.ratios(row, rival)) < row.gate * target
        ]

    def medians(self, rows: Iterable[Row]) -> str:
        """Return what each contender takes, as a table."""
        lines = [("ms", *self.names), ["---"] * (len(self.names) + 1)]
        for row in rows:
            lines.append((row.name, *(self._cell(row, name) for name in self.names)))
        return "\n".join(map(line, lines))

    def _cell(self, row: Row, name: str) -> str:
        if name not in self._of(row):
            return ""
        waits = self.trips[row.name, name]
        behind = "" if waits is None else f" ({waits:.2g})"
        return f"{statistics.median(self.seconds[row.name, name]) * 1000:.3g}{behind}"

    def targets(self, rows: Iterable[Row]) -> str:
        """Return the ratios, and what was asked of them, as a table."""
        lines = [("work", "against", "target", "found", "of the rounds", "met"), ["---"] * 6]
        for row in rows:
            if row in STALLS:
                stalls = sorted(self.seconds[row.name, OURS])
                found, limit = statistics.median(stalls), LONGEST_STALL
                few, most = f"{stalls[0] * 1000:.1f}", f"{stalls[-1] * 1000:.1f}"
                met = "yes" if found <= limit else "**no**"
                lines.append(
                    (row.name, "limit", f"<= {limit * 1000:g} ms", f"{found * 1000:.1f} ms", f"{few} to {most} ms", met)
                )
            for rival in self._of(row):
                if rival == OURS:
                    continue
                ratios = self.ratios(row, rival)
                found, target = statistics.median(ratios), row.targets.get(rival)
                wanted = "" if target is None else f">= {target:g}x"
                met = "" if target is None else "yes" if found >= target else "**no**"
                rounds = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
                lines.append((row.name, rival, wanted, f"{found:.2f}x", rounds, met))
        return "\n".join(map(line, lines))


def main() -> int:
    """Measure and print; return 1 where the gate is shut."""
    parser = argparse.ArgumentParser(prog="python -m benches.postgres", description=__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--rows", nargs="+", default=[""], metavar="TEXT", help="rows with one of these in the name")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS))
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    rows = [row for row in (*ROWS, SEEN, *STALLS) if any(text in row.name for text in options.rows)]
    if options.gate:
        rows = [row for row in rows if row.targets]
    results = Results(options.contenders or [name for name in CONTENDERS if name != FILE or not options.gate])
    rounds = options.rounds or (GATE_ROUNDS if options.gate else ROUNDS)
    with ExitStack() as stack:
        server = stack.enter_context(Server(AS_IT_COMES))
        bench = Bench(server, stack.enter_context(Proxy(server.port, SLOW)))
        if os.sched_getscheduler(0) == os.SCHED_FIFO:
            # The server's processes are, too, and a thread that wakes up would wait for one of them to sleep.
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_getparam(0).sched_priority + 1))
        [(version,)] = server.ask("SELECT substring(version() FROM '^PostgreSQL [0-9.]+')")
        results.measure(bench, rows, rounds)
        missed = results.fell_short(rows) if options.gate else []
        if missed:
            print(results.targets(missed), "\nOnce more, what fell short:", sep="\n")
            results.measure(bench, missed, rounds)
    tables = {
        "postgres machine": f"{machine.describe().splitlines()[0]}, {version}, psycopg {psycopg.__version__}",
        "postgres targets": results.targets(rows),
        "postgres medians": results.medians(rows),
    }
    print(*tables.values(), sep="\n\n")
    if options.write:
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    missed = results.fell_short(missed)
    for row in missed:
        print(f"FELL SHORT: {row.name}: less than {row.gate:.0%} of its target")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
