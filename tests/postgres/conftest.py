"""A store on a throw-away server. Without `--postgres` nothing here is run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from orchestrator.state_store import StateStore

from tests import servers
from tests.servers import Server
from tests.servers.proxy import Proxy

NUMBERS = count()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if config.getoption("--postgres") else True


@pytest.fixture(scope="session", autouse=True)
def started(postgresql: None) -> None:
    """Say that all tests here start a PostgreSQL."""


def waiting_sessions() -> int:
    """Return how many sessions wait for a lock."""
    with psycopg.connect(servers.shared()) as session:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        [(number,)] = session.execute(sql).fetchall()
        return int(number)


@pytest.fixture
def url() -> str:
    """Return the URL of a store that does not exist yet."""
    return f"{servers.shared()}&schema=t{os.getpid()}_{next(NUMBERS)}"


@pytest.fixture
def store(url: str) -> Iterator[StateStore]:
    """Open a store, with the run `run-1` in it."""
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        yield store


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a server that a module has for itself."""
    with Server() as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """Stand between that server and its clients."""
    with Proxy(server.port) as proxy:
        yield proxy
