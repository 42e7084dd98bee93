"""The server's compiler (`jit`, on by default): 30 ms for a statement of one, if the plan looks dear."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from orchestrator.state_store import StateStore

from tests import servers
from tests.helpers import make_item


def has_compiled(pid: int) -> bool:
    """Say whether a session of the server has loaded the compiler."""
    return "llvmjit" in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")


def sessions(name: str) -> list[int]:
    """Return the processes of the sessions of an application."""
    with psycopg.connect(servers.shared()) as session:
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        return [pid for (pid,) in session.execute(sql, [name])]


@pytest.fixture
def name(url: str) -> str:
    return url.rpartition("=")[2]


def test_a_session_that_has_compiled_is_known_by_it() -> None:
    with psycopg.connect(servers.shared()) as session:
        [(can,)] = session.execute("SELECT pg_jit_available()").fetchall()
        session.execute("SET jit_above_cost = 0; SELECT count(*) FROM pg_class")
        assert has_compiled(session.info.backend_pid) is can


@pytest.mark.parametrize("pooler", ["", "&pooler=true"])
def test_no_batch_is_compiled(url: str, name: str, pooler: str) -> None:
    """That a batch reads no whole table is made sure by a price that looks high."""
    with StateStore(f"{url}{pooler}&application_name={name}") as store:
        store.start_run("run-1", "daily", {})
        for title in ("a", "a", "b"):
            store.upsert_intel_items_batch(make_item(f"{number}", title=title) for number in range(10))
            store.upsert_intel_items_batch([make_item("of another run", title=title)])
        pids = sessions(name)
        assert pids
        assert not any(map(has_compiled, pids))


def test_nothing_is_compiled_in_sessions_of_the_store(url: str, name: str) -> None:
    """As if each table were large. Behind a pooler, this is the role's to set."""
    with StateStore(f"{url}&application_name={name}&options=-c%20jit_above_cost%3D0") as store:
        with store.run("run-1", "daily", {}):
            store.upsert_intel_items_batch(make_item(f"{number}", scores_json={"total": 1}) for number in range(10))
        assert len(store.list_intel_items_for_run("run-1")) == store.count_intel_items() == 10
        assert len(list(store.iter_intel_items(where={"scores_json.total": (">=", 1)}))) == 10
        assert store.count_intel_items_by("decision") == {None: 10}
        assert store.prune(older_than=0, dry_run=True).runs == 1
        assert store.check() == []
        pids = sessions(name)
        assert len(pids) >= 2
        assert not any(map(has_compiled, pids))


def test_the_url_may_have_statements_compiled(url: str) -> None:
    with StateStore(f"{url}&options=-c%20jit%3Don") as store:
        assert store.connection.execute("SELECT current_setting('jit')").fetchall() == [("on",)]
