"""The servers of the tests are those that were asked for."""

from __future__ import annotations

import os
import platform

import psycopg
import pytest
from orchestrator.state_store import StateStore

from tests import servers
from tests.conftest import lack


def test_server_is_of_the_version_that_was_asked_for(pytestconfig: pytest.Config) -> None:
    wanted = pytestconfig.getoption("--postgres-version")
    if wanted and "STATE_STORE_PG_URL" not in os.environ and "STATE_STORE_PG_BIN" not in os.environ:
        with psycopg.connect(servers.shared()) as session:
            assert str(session.info.server_version // 10_000) == wanted


def test_programs_of_the_wheel_and_named_ones_run_as_a_user_who_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() != "x86_64":
        lack("x86-64 processor")
    monkeypatch.delenv("STATE_STORE_PG_BIN", raising=False)
    monkeypatch.setattr(servers, "version", "18")
    of_wheel = servers._of_wheel()
    for named in (None, of_wheel):
        if named:
            monkeypatch.setenv("STATE_STORE_PG_BIN", os.fspath(named))
        with servers.Server() as server, StateStore(server.url) as store:
            [(version,)] = store.connection.execute("SHOW server_version_num").fetchall()
            assert int(version) // 10_000 == 18
            assert named in (None, server.programs)


def test_version_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_STORE_PG_BIN", raising=False)
    monkeypatch.setattr(servers, "version", "11")
    with pytest.raises(AssertionError, match="no PostgreSQL 11"):
        servers.binaries()
