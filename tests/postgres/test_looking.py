"""The page and the report of a store in PostgreSQL, by a role that may only read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import psycopg
import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import application
from orchestrator.state_store._report import write

from tests import servers
from tests.browsing import HOSTILE, KEY, PREFIX, Client, fill, hostile_item, is_plain

VIEWS = (
    "/runs?status=failed",
    "/run?id=daily-1&order=best&by=total",
    "/run?id=daily-0&undecided=1",
    "/item?id=daily-0%2F03",
    "/compare?after=daily-1",
    "/plot?type=daily&path=tokens.in",
    "/search?q=daily-1",
    "/search?q=outage",
)


@pytest.fixture
def reader(url: str) -> Iterator[StateStore]:
    """Open a filled store as a role that may only SELECT."""
    with StateStore(url) as store:
        fill(store)
        for name, text in HOSTILE.items():
            store.upsert_intel_item(hostile_item(f"{text[:100]}|{name}", "daily-0", text[:10_000]))
    schema = url.rpartition("=")[2]
    role = f"reader_{schema}"
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            session.execute(statement.encode())
    with StateStore(re.sub(r"\buser=\w+", f"user={role}", url), read_only=True) as store:
        yield store


def test_each_view_and_its_twin(reader: StateStore) -> None:
    client = Client(application(reader, "state", PREFIX, KEY))
    for view in VIEWS:
        answer = client(view)
        assert answer.status_code == 200, answer.text
        assert is_plain(answer.text)
        assert client(re.sub(r"^/(\w+)", r"/\1.json", view)).status_code == 200
    found = client("/search.json?q=daily-1").json()
    assert [item["item_id"] for item in found["by_id"]][:2] == ["daily-1/00", "daily-1/01"]
    assert [run["run_id"] for run in found["runs"]] == ["daily-1"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_items(reader: StateStore, name: str) -> None:
    client = Client(application(reader, "state", PREFIX, KEY))
    answer = client("/item", params={"id": f"{HOSTILE[name][:100]}|{name}"})
    assert answer.status_code == 200, answer.text
    assert is_plain(answer.text)


def test_report(reader: StateStore) -> None:
    file = io.BytesIO()
    write(reader, "daily-0", file, items=30)
    text = file.getvalue().decode()
    assert text.count("<article") == 30
    assert is_plain(text)


def test_what_cannot_be_read_is_named(url: str, reader: StateStore) -> None:
    schema = url.rpartition("=")[2]
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        for change in (
            "runs SET settings_snapshot_json = '{settings' WHERE run_id = 'daily-1'",
            "telemetry SET telemetry_json = '{telemetry' WHERE run_id = 'daily-1'",
            "intel_items SET scores_json = '{scores' WHERE item_id = 'daily-1/02'",
        ):
            session.execute(f"UPDATE {schema}.{change}".encode())
    twin = Client(application(reader, "state", PREFIX, KEY))("/run.json?id=daily-1&order=oldest").json()
    assert twin["telemetry"] == "unreadable: {telemetry"
    assert [each.partition(": not")[0] for each in twin["unreadable"]["first"]] == [
        'run "daily-1", settings_snapshot_json',
        'item "daily-1/02", scores_json',
        '"daily-1": telemetry_json',
    ]
    file = io.BytesIO()
    write(reader, "daily-1", file)
    assert b"<b>3 unreadable</b>" in file.getvalue()
