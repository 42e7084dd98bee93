"""What a URL opens, and what is refused before anything is made."""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from orchestrator.state_store import (
    CannotOpenError,
    ForeignDatabaseError,
    InvalidValueError,
    SchemaTooNewError,
    StateStore,
    StateStoreError,
    StoreBusyError,
    StoreClosedError,
    UnsupportedError,
)
from orchestrator.state_store._postgres import address

from tests import servers
from tests.helpers import ROOT, in_threads, make_item


def execute(sql: str) -> None:
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        session.execute(sql.encode())


def schema_of(url: str) -> str:
    return url.rpartition("=")[2]


def test_stores_that_open_at_once_make_one_store(url: str) -> None:
    stores = in_threads([partial(StateStore, url)] * 6)
    stores[0].start_run("run-1", "daily", {})
    assert [store.count_runs() for store in stores] == [1] * 6
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "options", ["schema=Upper", "schema=a.b", "schema=pg_x", "schema=", "schema=a;b", "schema=user"]
)
def test_schema_is_a_plain_name(options: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^db_path: schema"):
        StateStore(f"{servers.shared()}&{options}")


@pytest.mark.parametrize(
    "options", ["transaction_idle_timeout=0", "transaction_idle_timeout=soon", "pooler=maybe", "colour=red"]
)
def test_wrong_parameters_are_refused(options: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^db_path: "):
        StateStore(f"{servers.shared()}&{options}")


def test_options_of_a_file_are_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="file_mode"):
        StateStore(url, file_mode=0o640)
    with pytest.raises(UnsupportedError, match="trace_sql"):
        StateStore(url, trace_sql=True)


SECRET = [
    "postgresql://me:{}@127.0.0.1:1/db?connect_timeout=2",
    "postgresql://127.0.0.1:1/db?user=me&password={}",
    "postgresql://127.0.0.1:1/db?user=me&pass%77ord={}",
    "postgresql://me:{}@127.0.0.1:1/db?colour=red",
    "postgresql://me:{}@[127.0.0.1:1/db",
    "postgresql://me:{}@127.0.0.1:port/db",
]


@pytest.mark.parametrize("password", ["secret", "sec#secret", "sec?secret", "sec%20secret", "s:secret"])
@pytest.mark.parametrize("url", SECRET)
def test_password_is_shown_nowhere(url: str, password: str) -> None:
    with pytest.raises(StateStoreError) as caught:
        StateStore(url.format(password))
    assert "sec" not in repr(caught.value)
    with suppress(InvalidValueError):
        assert "sec" not in repr(address.parse(url.format(password)))
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_url_is_read_as_libpq_reads_it() -> None:
    parsed = address.parse("postgresql://me:a#b?c%40@h1,h2:2/db?options=-c%20x.y%3D1+2&schema=other&pooler=true")
    assert parsed.parameters["password"] == "a#b?c@"
    assert parsed.parameters["host"] == "h1,h2"
    assert parsed.parameters["options"] == "-c x.y=1+2"
    assert (parsed.schema, parsed.pooler) == ("other", True)
    assert parsed.location.startswith("postgresql://me@h1,h2:2/db?")


def test_repr_keeps_the_password_out(url: str) -> None:
    with StateStore(f"{url}&password=secret") as store:
        shown = [repr(store), repr(store.transaction()), repr(store.connection), repr(vars(store)["_core"]._address)]
        assert not [each for each in shown if "secret" in each]


def test_server_whose_locks_do_nothing_is_refused(url: str) -> None:
    """As some that only speak the protocol: they accept the function."""
    schema = schema_of(url)
    fake = f"CREATE FUNCTION {schema}_fake.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE sql AS 'SELECT'"
    execute(f"CREATE SCHEMA {schema}_fake; {fake}")
    with pytest.raises(CannotOpenError, match="advisory locks"):
        StateStore(f"{url}&options=-c%20search_path%3D{schema}_fake,pg_catalog")


def test_server_without_a_free_session_is_waited_for() -> None:
    """The library tells no SQLSTATE of it."""
    settings = {"max_connections": "5", "superuser_reserved_connections": "0"}
    with servers.Server(settings) as server, StateStore(server.url, busy_timeout=60) as store, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(psycopg.connect(server.url))
        with pytest.raises(StoreBusyError, match="too many clients"):
            StateStore(server.url, busy_timeout=0.2)
        leave = threading.Timer(0.5, stack.close)
        leave.start()
        store.start_run("run-1", "daily", {})
        leave.join()


def test_no_server_is_told_as_that() -> None:
    with pytest.raises(CannotOpenError):
        StateStore("postgresql://me@127.0.0.1:1/db")


def test_read_only_makes_nothing(url: str) -> None:
    with pytest.raises(CannotOpenError, match="there is no store"):
        StateStore(url, read_only=True)
    with psycopg.connect(servers.shared()) as session:
        found = session.execute("SELECT to_regnamespace(%s)", [schema_of(url)]).fetchone()
    assert found == (None,)


def test_tables_of_another_program_are_refused_untouched(url: str) -> None:
    schema = schema_of(url)
    execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.runs (x integer)")
    with pytest.raises(ForeignDatabaseError, match="runs"):
        StateStore(url)
    execute(f"SELECT x FROM {schema}.runs; DROP TABLE {schema}.runs")
    StateStore(url).close()


def test_store_of_a_newer_version_is_refused(url: str) -> None:
    StateStore(url).close()
    execute(f"UPDATE {schema_of(url)}.store_identity SET schema_version = 99")
    with pytest.raises(SchemaTooNewError, match="99"):
        StateStore(url)


def test_role_that_may_only_use_the_store_needs_these_grants(url: str) -> None:
    """Those of docs/postgres.md."""
    StateStore(url).close()
    schema, role = schema_of(url), f"worker_{schema_of(url)}"
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8"), re.DOTALL)
    [grants] = [block for block in blocks if "TO worker" in block]
    execute(f"CREATE ROLE {role} LOGIN; {grants.replace('orchestrator', schema).replace('worker', role)}")
    with StateStore(url.replace("user=postgres", f"user={role}")) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{number}") for number in range(3))
        store.merge_telemetry("run-1", {"a": 1})
        store.decide("1", "promote")
        with store.transaction():
            store.delete_intel_item("2")
        assert store.check() == []
        store.finish_run("run-1", "completed")
        assert store.prune(keep_last=0).intel_items == 2
    with pytest.raises(CannotOpenError):
        StateStore(url.replace("user=postgres", f"user={role}").replace(schema, f"{schema}_other"))


UNSUPPORTED: dict[str, Any] = {
    "vacuum": lambda store: store.vacuum(),
    "checkpoint": lambda store: store.checkpoint(),
    "backup": lambda store: store.backup("copy.db"),
    "db_path": lambda store: store.db_path,
}


@pytest.mark.parametrize("call", UNSUPPORTED)
def test_what_it_does_not_have_it_says(store: StateStore, call: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        UNSUPPORTED[call](store)
    assert isinstance(caught.value, NotImplementedError)
    assert "\n" not in str(caught.value)


def test_closed_store_says_so(url: str) -> None:
    store = StateStore(url)
    store.close()
    with pytest.raises(StoreClosedError):
        store.connection.execute("SELECT 1")
