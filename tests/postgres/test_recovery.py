"""Recovery of runs whose workers are gone, by several hosts; and of none whose worker is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from orchestrator.state_store import StateStore

from tests import servers
from tests.helpers import Boom, Peer, make_item
from tests.programs import on_servers


def sign_of_life(store: StateStore, run_id: str) -> datetime:
    found = store.get_run(run_id)
    assert found is not None
    return datetime.fromisoformat(found.heartbeat_at or found.started_at)


@pytest.mark.parametrize("leave", ["commit", "roll back"])
def test_a_run_shows_life_during_a_transaction_that_writes_for_it(url: str, leave: str) -> None:
    """Its row would be locked until the end, so that a recoverer who waits for that would take the run for dead."""
    schema = url.rpartition("=")[2]

    def block(store: StateStore, other: StateStore) -> None:
        with psycopg.connect(servers.shared(), autocommit=True) as session:
            # So that the writes would record one of their own.
            session.execute(f"UPDATE {schema}.runs SET heartbeat_at = '2020-01-01T00:00:00+00:00'".encode())
        with store.transaction():
            begun = datetime.now(UTC)
            store.upsert_intel_item(make_item("a"))
            store.heartbeat("run-1")
            store.write_telemetry("run-1", {})
            # The thread of the block records one every two seconds.
            while sign_of_life(other, "run-1") <= begun + timedelta(seconds=1):
                assert datetime.now(UTC) < begun + timedelta(seconds=30), "no heartbeat was recorded"
            if leave == "roll back":
                raise Boom

    with StateStore(url) as store, StateStore(url) as other, store.run("run-1", "daily", {}):
        store.upsert_intel_item(make_item("b"))
        if leave == "roll back":
            with pytest.raises(Boom):
                block(store, other)
        else:
            block(store, other)
        assert other.recover_stale_runs(10) == []


def test_the_end_of_a_transaction_is_a_heartbeat_of_what_it_wrote_for(store: StateStore, url: str) -> None:
    schema = url.rpartition("=")[2]
    long_ago = "2020-01-01T00:00:00+00:00"
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        session.execute(f"UPDATE {schema}.runs SET started_at = '{long_ago}'".encode())

    def undone() -> None:
        with store.transaction():
            store.start_run("run-2", "daily", {})
            store.upsert_intel_item(make_item("b", "run-2"))
            raise Boom

    with store.transaction():
        store.upsert_intel_item(make_item("a"))
        with pytest.raises(Boom):
            undone()
    assert sign_of_life(store, "run-1").year > 2020
    assert store.recover_stale_runs(30, trust_clock=True) == []


@contextmanager
def of_another_clock(faketime: str, offset: str) -> Iterator[None]:
    """Have the Python programs that are started here see another time."""
    command = [faketime, "-f", offset, sys.executable, "-c", "import os; print(os.environ['LD_PRELOAD'])"]
    preload = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", preload)
        patch.setenv("FAKETIME", offset)
        # Waits of Python's are by the monotonic clock, which nobody can set.
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        yield


def kill_a_worker(url: str, run_id: str) -> None:
    with Peer(on_servers.live, url, run_id) as worker:
        worker.hear()
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()


def test_a_killed_worker_is_recovered_once_by_hosts_whose_clocks_differ(
    url: str, pytestconfig: pytest.Config, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    faketime = tool("faketime")
    rounds = 100 if pytestconfig.getoption("--full") else 4
    schema = url.rpartition("=")[2]
    minutes_ago = "now() - interval '{} minutes'"
    with ExitStack() as stack:
        stack.enter_context(StateStore(url)).start_run("first", "daily", {})
        alive = stack.enter_context(Peer(on_servers.live, url, "alive"))
        alive.hear()
        recoverers = []
        for number in range(8):
            with of_another_clock(faketime, f"{'+' if number % 2 else '-'}{number * 8}m"):
                recoverers.append(stack.enter_context(Peer(on_servers.recover, url)))
        for each in recoverers:
            each.hear()
        for number in range(rounds):
            kill_a_worker(url, f"dead-{number}")
            # It was killed two minutes ago.
            with psycopg.connect(servers.shared(), autocommit=True) as session:
                at = f"{schema}.isoformat_1({minutes_ago.format(2)})"
                sql = f"UPDATE {schema}.runs SET started_at = {at}, heartbeat_at = {at} WHERE run_id = 'dead-{number}'"
                session.execute(sql.encode())
                session.execute(f"UPDATE {schema}.runs SET heartbeat_at = NULL WHERE run_id = 'first'".encode())
            for each in recoverers:
                each.tell()
            told = [each.hear() for each in recoverers]
            assert sorted(" ".join(told).split()) in ([f"dead-{number}"], [f"dead-{number}", "first"]), told
            with StateStore(url) as store:
                found = store.get_run("alive")
                assert found is not None
                assert found.status == "running"
