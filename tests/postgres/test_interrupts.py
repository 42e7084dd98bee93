"""Ctrl-C at any point of a call: it ends the call, and leaves nothing behind that others would wait for."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from orchestrator.state_store import StateStore, _postgres

from tests.helpers import in_thread, item_ids, make_item

_ROOM = str(Path(_postgres.__file__).parent)
_POINTS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME"}
"""After these instructions."""

_LEFT_ALONE = {"__del__"}
"""What ends objects: the interpreter passes no exception on from there."""


def upsert(store: StateStore) -> None:
    store.upsert_intel_item(make_item("a"))


def upsert_batch(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(f"{number}") for number in range(501))


def read(store: StateStore) -> None:
    item_ids(store)


def merge(store: StateStore) -> None:
    store.merge_telemetry("run-1", {"a": 1})


def transaction(store: StateStore) -> None:
    with store.transaction():
        store.upsert_intel_item(make_item("a"))
        with store.transaction():
            store.decide("a", "promote")


def query(store: StateStore) -> None:
    store.connection.execute("SELECT 1").fetchall()


CALLS: dict[Callable[[StateStore], None], int] = {
    upsert: 7,
    upsert_batch: 997,
    read: 5,
    merge: 7,
    transaction: 11,
    query: 7,
}
"""The calls, and every how many points they are interrupted in the quick form."""


@contextmanager
def interrupting(at: int) -> Iterator[list[int]]:
    """Raise KeyboardInterrupt at the point of that number, of those where the interpreter runs signal handlers."""
    seen = [0]
    before: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(_ROOM) or frame.f_code.co_name in _LEFT_ALONE:
            return None
        frame.f_trace_opcodes = True
        return step

    def step(frame: FrameType, event: str, arg: Any) -> Callable[..., Any]:
        if event == "opcode":
            is_point = before.get(frame) in _POINTS
            before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            seen[0] += is_point
            if is_point and seen[0] == at:
                before.clear()
                raise KeyboardInterrupt
        return step

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(former)
        before.clear()


def use(store: StateStore) -> None:
    """Do what would wait for whatever the interrupted call has left."""
    store.upsert_intel_item(make_item("free"))
    with store.transaction():
        assert "free" in item_ids(store)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_an_interrupted_call_leaves_nothing_behind(
    url: str, call: Callable[[StateStore], None], pytestconfig: pytest.Config
) -> None:
    step = 1 + CALLS[call] // 30 if pytestconfig.getoption("--full") else CALLS[call]
    # With one session of each kind, one that is left behind is missed at once.
    with StateStore(url, pool_size=1, busy_timeout=8) as store, StateStore(url, busy_timeout=8) as other:
        store.start_run("run-1", "daily", {})
        call(store)
        at = 1
        while True:
            with interrupting(at) as seen, suppress(KeyboardInterrupt):
                call(store)
            if seen[0] < at:
                break
            in_thread(use, store)
            in_thread(use, other)
            at += step
        assert at > 10
