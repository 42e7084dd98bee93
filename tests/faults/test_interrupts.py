"""Ctrl-C ends a wait at once and leaves no transaction open; the write is wholly there or wholly not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import ROOT, TIMEOUT, Peer, assert_sound, in_process, item_ids, make_item, value
from tests.programs import plain, signals
from tests.tracing import under_strace

FULL_TIMES = 5
"""How often each of the waits is interrupted: 60 times together, of one kind and of the other."""


@pytest.mark.parametrize("act", signals.ACTS)
def test_ctrl_c_ends_a_wait_for_another_process(
    run_path: Path, act: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    with Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        with Peer(signals.wait_for_another_process, str(run_path), act, rounds(1, FULL_TIMES)) as waiter:
            assert waiter.hear() == "interrupted"
            holder.tell()
            holder.result()
            waiter.tell()
            seconds = waiter.result()
    assert max(seconds) < rounds(20, 2) / 10
    with StateStore(run_path) as store:
        assert item_ids(store) == ["after"]
        assert value(store, "SELECT count(*) FROM runs") == 1
    figure(f"{len(seconds)} times, after {max(seconds) * 1000:.0f} ms at most")


@pytest.mark.parametrize("act", signals.ACTS)
def test_ctrl_c_ends_a_wait_for_another_thread(
    run_path: Path, act: str, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    seconds = in_process(signals.wait_for_another_thread, str(run_path), act, rounds(1, FULL_TIMES))
    assert max(seconds) < rounds(20, 2) / 10
    with StateStore(run_path) as store:
        assert item_ids(store) == ["held", "after"]
        assert value(store, "SELECT count(*) FROM runs") == 1
    figure(f"{len(seconds)} times, after {max(seconds) * 1000:.0f} ms at most")


def test_signal_handler_that_writes_does_not_deadlock(run_path: Path) -> None:
    handled = in_process(signals.handler_that_writes, str(run_path), 300)
    assert handled > 0
    with StateStore(run_path) as store:
        names = item_ids(store)
        assert {f"main-{index}" for index in range(300)} <= set(names)
        assert sum(name.startswith("handler-") for name in names) >= handled


@pytest.mark.parametrize("act", signals.ACTS)
def test_signal_handler_that_writes_while_the_call_it_interrupts_waits_is_busy_at_once(
    run_path: Path, act: str
) -> None:
    """The interrupted call has the turn: until the handler returns, it cannot end."""
    with Peer(plain.hold, str(run_path)) as holder:
        assert holder.hear() == "ready"
        with Peer(signals.handler_that_writes_into_a_wait, str(run_path), act) as waiter:
            assert waiter.hear() == "handled"
            holder.tell()
            holder.result()
            [seconds] = waiter.result()
            assert seconds < 2
    with StateStore(run_path) as store:
        assert item_ids(store) == ["main", "after"]


@pytest.mark.parametrize("how", signals.LONG_LISTS)
def test_ctrl_c_at_any_moment_of_a_long_list_leaves_the_store_usable(run_path: Path, how: str) -> None:
    with StateStore(run_path) as store:
        store.upsert_intel_items_batch(make_item(f"{index}", claims_json=["c"] * 20) for index in range(5000))
    assert in_process(signals.long_list_interrupted_at_random, str(run_path), how, 40) > 0


def test_ctrl_c_at_any_moment_leaves_nothing_open_nor_half_written(run_path: Path) -> None:
    outcome = in_process(signals.interrupted_at_random, str(run_path), 300)
    assert outcome["left open"] == []
    with StateStore(run_path) as store:
        names = set(item_ids(store))
        first = {name.split("-")[1] for name in names if name.startswith("first-")}
        second = {name.split("-")[1] for name in names if name.startswith("second-")}
        assert first == second, "a torn batch or transaction"
        assert set(map(str, outcome["acknowledged"])) <= first
        assert_sound(store)


@pytest.mark.parametrize("act", signals.CONVERTED)
def test_signal_ends_what_is_converted(run_path: Path, act: str) -> None:
    """A batch of 100,000 items went on for 6 s after Ctrl-C, and was written."""
    assert not in_process(signals.interrupted_while_converting, str(run_path), act)


def test_ctrl_c_ends_the_encoding_of_one_document(run_path: Path) -> None:
    """It was seen when all of it was encoded, and the call was done."""
    assert in_process(signals.interrupted_while_encoding, str(run_path)) == "None"


def test_who_is_interrupted_while_another_thread_commits_learns_that_it_was_written(
    run_path: Path, tool: Callable[[str], str]
) -> None:
    tool("strace")
    slow = ("-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=500000", "-o", "/dev/null")
    command = under_strace(signals.interrupted_in_the_commit_of_another_thread, run_path, options=slow)
    program = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT)
    assert json.loads(program.stdout) == ["the call was complete all the same: what it writes is written"]
