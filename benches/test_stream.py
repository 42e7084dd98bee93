"""A run of 1,000,000 items as a stream, in a process of its own: the time that an item takes, and the memory of all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore
from pytest_benchmark.fixture import BenchmarkFixture

from benches import rows
from benches.conftest import RUN
from benches.files import FILES
from benches.items import MADE_UP, make_items
from benches.rivals import OURS
from benches.timing import timed

pytestmark = [
    pytest.mark.full_only,
    pytest.mark.contenders(OURS),
    pytest.mark.turns(1, 1),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's"),
]

ITEMS = 1_000_000
BATCH = 10_000
PROGRAM = """
import json, re, sys, time
from pathlib import Path
from orchestrator.state_store import StateStore

def kib(name):
    return int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

with StateStore(sys.argv[1], read_only=True) as store:
    Path("/proc/self/clear_refs").write_text("5")  # The peak starts anew: proc_pid_clear_refs(5).
    before, start = kib("VmRSS"), time.perf_counter()
    count = sum(1 for _ in store.iter_intel_items(run_id=sys.argv[2]))
    print(json.dumps([count, time.perf_counter() - start, (kib("VmHWM") - before) * 1024]))
"""


@pytest.fixture(scope="module")
def long_run() -> Iterator[Path]:
    """Make the file once."""
    FILES.mkdir(exist_ok=True)
    path = FILES / "bench-stream.db"
    with StateStore(path, synchronous="NORMAL") as store:
        store.start_run(RUN, "bench", {})
        for first in range(0, ITEMS, BATCH):
            store.upsert_intel_items_batch(make_items(MADE_UP, RUN, BATCH, first=first))
    yield path
    # Whoever only reads cannot delete the log's files.
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.benchmark(group=rows.STREAM)
def test_stream(benchmark: BenchmarkFixture, long_run: Path, source: str, turn: int, contender: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(long_run), RUN]
    count, seconds, memory = json.loads(timed(benchmark, subprocess.check_output, command))
    assert count == ITEMS
    benchmark.extra_info["values"] = {rows.STREAM: seconds / count, rows.STREAM_MEMORY: memory}
