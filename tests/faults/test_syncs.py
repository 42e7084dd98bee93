"""Each acknowledged write has been synced, threads share syncs, and nothing makes a sync take longer than it has to.

The calls themselves are seen, so that it does not matter what disk the test runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.programs import levers
from tests.tracing import Call, on, returned, span, trace

LOG = "state.db-wal"
SYNCS = ("fdatasync", "fsync")
TIMES = {"STATX_ATIME", "STATX_MTIME", "STATX_CTIME", "STATX_BASIC_STATS", "STATX_ALL"}


@pytest.fixture
def traced(tool: Callable[[str], str], path: Path) -> Callable[[Callable[[str], None]], list[Call]]:
    """Return what runs a program and returns its writes, its syncs, and what it asks about files."""
    tool("strace")
    calls = "write,pwrite64,fdatasync,fsync,%%stat"
    return lambda function: list(trace(function, path, log=path.with_suffix(".strace"), calls=calls))


def syncs(calls: list[Call], name: str) -> list[Call]:
    """Return the syncs of the log that began after a call and ended before its return."""
    return on(span(calls, f"call {name}", f"return {name}"), LOG, *SYNCS)


def test_every_kind_of_write_is_synced_between_its_call_and_its_return(
    traced: Callable[[Callable[[str], None]], list[Call]], figure: Callable[[str], None]
) -> None:
    calls = traced(levers.write_in_every_way)
    names = returned(calls)
    assert len(names) == 7
    assert [name for name in names if not syncs(calls, name)] == []
    figure(f"{len(names)} of {len(names)} kinds of write synced before they returned")


def test_no_write_asks_for_the_times_of_the_log(traced: Callable[[Callable[[str], None]], list[Call]]) -> None:
    """Since Linux 6.13 the next write to a file records a time of its own then, and its sync waits for the journal."""
    calls = traced(levers.write_in_every_way)
    writes = [call for name in returned(calls) for call in span(calls, f"call {name}", f"return {name}")]
    asked = {(call.name, call.flags & TIMES) for call in writes if call.path.name == LOG and "stat" in call.name}
    assert asked == {("statx", frozenset())}


def test_threads_share_syncs_and_each_write_has_one_before_its_return(
    traced: Callable[[Callable[[str], None]], list[Call]], figure: Callable[[str], None]
) -> None:
    calls = traced(levers.write_in_threads)
    names = returned(calls)
    assert len(names) == levers.THREADS * levers.EACH
    assert [name for name in names if not syncs(calls, name)] == []
    marks = [call for call in calls if call.mark.startswith(("call", "return"))]
    made = on([call for call in calls if marks[0].end < call.begin < marks[-1].begin], LOG, *SYNCS)
    figure(f"{len(names)} writes of {levers.THREADS} threads, {len(made)} syncs")
    assert len(made) <= 0.6 * len(names)
