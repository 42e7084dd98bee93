"""A writer beside the page of its store, and alone, by turns: `python -m benches.beside_page`.

The writer has a process of its own, as the page has. One client asks for one view after the other, without a pause.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.state_store import StateStore

from benches.files import FILES, add_items
from benches.items import MADE_UP, make_items
from tests.browsing import page

UPSERTS = 3000
ROUNDS = 5
VIEWS = ("runs", "run?id=run-1", "run?id=run-1&order=best&by=total", "search?q=run-1", "icon.svg")
WRITE = "import sys; from benches.beside_page import write; write(sys.argv[1])"


def write(path: str) -> None:
    """Write items one by one, each durably, and print how long it took."""
    with StateStore(path) as store:
        run_id = f"writer-{time.time_ns()}"
        store.start_run(run_id, "bench", {})
        items = make_items(MADE_UP, run_id, UPSERTS)
        start = time.perf_counter()
        for item in items:
            store.upsert_intel_item(item)
        print(time.perf_counter() - start)
        store.finish_run(run_id, "completed")


def requests(address: str) -> Iterator[float]:
    """Ask for one view after the other, and yield how long each took."""
    parts = urlsplit(address)
    client = HTTPConnection(parts.netloc)
    client.request("GET", f"{parts.path}?{parts.query}")
    answer = client.getresponse()
    answer.read()
    cookie = {"Cookie": answer.getheader("Set-Cookie", "").partition(";")[0]}
    for view in cycle(VIEWS):
        start = time.perf_counter()
        client.request("GET", parts.path + view, headers=cookie)
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{view}: {answer.status}")
        yield time.perf_counter() - start


def main() -> None:
    """Measure, and print a line a turn and the ratio of the medians."""
    FILES.mkdir(exist_ok=True)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    took: list[float] = []
    with tempfile.TemporaryDirectory(dir=FILES) as folder:
        path = str(Path(folder) / "state.db")
        with StateStore(path) as store:
            add_items(store, 10)
        with page(path) as address:
            for number in range(2 * ROUNDS):
                beside = number % 4 in (1, 2)
                asking = requests(address)
                with subprocess.Popen([sys.executable, "-c", WRITE, path], stdout=subprocess.PIPE) as writer:
                    while beside and writer.poll() is None:
                        took.append(next(asking))
                    seconds[beside].append(float(writer.communicate()[0]))
                print(f"{seconds[beside][-1]:.3f} s", "beside the page" if beside else "alone", flush=True)
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    print(f"{ratio:.2f}; {len(took)} requests, {statistics.median(took) * 1e3:.1f} ms each")


if __name__ == "__main__":
    main()
