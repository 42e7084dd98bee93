"""Signs of life: by call, by each write, and of all runs that are active."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from orchestrator.state_store import RunFinishedError, RunNotFoundError, RunRecord, StateStore

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, everything
from tests.helpers import TIMEOUT, Peer, make_item
from tests.programs import lives

LONG_AGO = "2020-01-01T00:00:00+00:00"


def run(store: StateStore, run_id: str = "run-1") -> RunRecord:
    record = store.get_run(run_id)
    assert record is not None
    return record


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition to hold."""
    limit = time.monotonic() + TIMEOUT / 3
    while not condition():
        assert time.monotonic() < limit
        os.sched_yield()


def test_heartbeat_is_now(store: StateStore) -> None:
    store.heartbeat("run-1")
    first = run(store).heartbeat_at
    store.heartbeat("run-1")
    second = run(store).heartbeat_at
    assert first is not None
    assert second is not None
    assert run(store).started_at < first < second


def test_heartbeat_of_a_run_that_is_not_running(store: StateStore) -> None:
    store.finish_run("run-1", "completed")
    before = everything(store)
    with pytest.raises(RunFinishedError, match=r'heartbeat "run-1".*completed'):
        store.heartbeat("run-1")
    with pytest.raises(RunNotFoundError, match=r'heartbeat "run-9"'):
        store.heartbeat("run-9")
    assert everything(store) == before


def test_heartbeat_of_a_run_that_is_being_pruned(lasting: Engine, store: StateStore) -> None:
    lasting.edit("runs", pruned_at="now")
    writes: list[Callable[[], object]] = [
        lambda: store.heartbeat("run-1"),
        lambda: store.upsert_intel_item(make_item()),
        lambda: store.write_telemetry("run-1", {}),
        lambda: store.merge_telemetry("run-1", {}),
        lambda: store.finish_run("run-1", "completed"),
    ]
    for write in writes:
        with pytest.raises(RunNotFoundError):
            write()


WRITES: dict[str, Callable[[StateStore], object]] = {
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item()),
    "upsert_intel_items_batch": lambda store: store.upsert_intel_items_batch([make_item(), make_item("item-2")]),
    "large batch": lambda store: store.upsert_intel_items_batch(make_item(f"{index}") for index in range(5000)),
    "merge_telemetry": lambda store: store.merge_telemetry("run-1", {}),
    "write_telemetry": lambda store: store.write_telemetry("run-1", {}),
}


@pytest.mark.parametrize("write", WRITES)
def test_each_write_is_a_sign_of_life(lasting: Engine, store: StateStore, write: str) -> None:
    """Also one that changes nothing: of an item that comes again, or that another run recorded first."""
    for _ in range(2):
        lasting.edit("runs", started_at=LONG_AGO, heartbeat_at=None)
        WRITES[write](store)
        heartbeat_at = run(store).heartbeat_at
        assert heartbeat_at is not None
        assert heartbeat_at > LONG_AGO


def test_item_of_another_run_is_a_sign_of_the_run_that_brings_it(lasting: Engine, store: StateStore) -> None:
    store.upsert_intel_item(make_item())
    store.start_run("run-2", "daily", {})
    lasting.edit("runs", started_at=LONG_AGO, heartbeat_at=None)
    store.upsert_intel_item(make_item(run_id="run-2"))
    assert run(store).heartbeat_at is None
    assert run(store, "run-2").heartbeat_at is not None


def test_writes_give_one_sign_a_second(store: StateStore) -> None:
    signs = set()
    for index in range(300):
        store.upsert_intel_item(make_item(f"{index}"))
        signs.add(run(store).heartbeat_at)
    seconds = [sign[:19] for sign in signs if sign is not None]
    assert len(seconds) == len(set(seconds))


def test_writes_for_a_run_that_is_over_are_no_signs(lasting: Engine, store: StateStore) -> None:
    store.finish_run("run-1", "completed")
    lasting.edit("runs", started_at=LONG_AGO)
    store.upsert_intel_item(make_item())
    assert run(store).heartbeat_at is None


def test_thread_beats_for_all_runs_that_are_active(lasting: Engine) -> None:
    with lasting.open() as store, store.run("run-1", "daily", {}), store.run("run-2", "daily", {}):
        until(lambda: run(store).heartbeat_at is not None)
        assert run(store).heartbeat_at == run(store, "run-2").heartbeat_at, "one commit has both"


@pytest.mark.parametrize("how", ["closed", "kept", "dropped"])
def test_end_of_the_program_inside_the_block(lasting: Engine, how: str) -> None:
    with Peer(lives.leave, lasting.location, how) as peer:
        assert peer.hear() == "True"
        assert list(peer.lines()) == ["null"]
        assert peer.process.wait(TIMEOUT) == 0, "it failed, or was killed because it hung"
    with lasting.open() as store:
        assert run(store).status == "running"
        assert_sound(store)
