"""What makes the store fast is on, told by system calls, which noise cannot move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.programs import levers
from tests.tracing import Call, on, span, trace

LOG_LIMIT = 64 << 20
"""Bytes to which the log is cut back."""

TRACED = "write,pwrite64,ftruncate"


def traced(function: Callable[[str], None], path: Path) -> list[Call]:
    """Run a program under strace; return its system calls, in the order in which they ended."""
    return list(trace(function, path, log=path.with_suffix(".strace"), calls=TRACED))


def test_checkpoints_are_not_made_by_those_who_commit(path_in_memory: Path) -> None:
    events = span(traced(levers.write_much, path_in_memory), "begin", "end")
    committing = {event.thread for event in on(events, "state.db-wal", "pwrite64")}
    checkpointing = {event.thread for event in on(events, "state.db", "pwrite64")}
    assert committing
    assert checkpointing, "the log was never checkpointed"
    assert committing & checkpointing == set()


def test_log_is_written_over_and_not_cut_off_each_time(path_in_memory: Path) -> None:
    events = span(traced(levers.write_much, path_in_memory), "begin", "end")
    assert on(events, "state.db", "pwrite64"), "the log was never checkpointed"
    cut = [event.numbers[-1] for event in on(events, "state.db-wal", "ftruncate")]
    assert [size for size in cut if size < LOG_LIMIT] == [], "a log that outgrew its limit is cut back to it, no more"


def test_commit_of_one_item_goes_to_the_log_in_one_call(path: Path) -> None:
    events = span(traced(levers.write_much, path), "begin", "end")
    assert len(on(events, "state.db-wal", "pwrite64")) <= 1.2 * levers.CALLS


def test_batch_does_not_spill_before_it_commits(path: Path) -> None:
    events = traced(levers.write_a_batch_and_commit_later, path)
    assert on(span(events, "call batch", "return batch"), "state.db-wal", "pwrite64") == []
    assert on(span(events, "call commit", "return commit"), "state.db-wal", "pwrite64")


def test_large_batch_is_encoded_by_one_thread_and_written_by_another(path: Path) -> None:
    events = traced(levers.write_a_batch, path)
    [caller] = {event.thread for event in events if event.mark}
    writing = {event.thread for event in on(span(events, "call new", "return new"), "state.db-wal", "pwrite64")}
    assert writing
    assert caller not in writing


def test_unchanged_items_are_not_written(path: Path) -> None:
    events = traced(levers.write_a_batch, path)
    assert on(span(events, "call again", "return again"), "state.db-wal", "pwrite64") == []


def test_index_has_the_items_of_a_run_in_order(store: StateStore) -> None:
    sql = "EXPLAIN QUERY PLAN SELECT * FROM intel_items WHERE run_id = ? ORDER BY created_at, rowid"
    plan = [row["detail"] for row in store.connection.execute(sql, ["run-1"])]
    assert plan == ["SEARCH intel_items USING INDEX idx_intel_items_run_id (run_id=?)"]
