"""The views for other programs: values as PostgreSQL's own types, NULL for what those cannot hold, never an error."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from orchestrator.state_store import StateStore, copy_store
from orchestrator.state_store.testing import check

from tests import servers
from tests.helpers import ROOT, make_item

HELD: list[Any] = [
    *({"b": 1, "a": [None, True, "\u00e9\U0001f600"]}, [], "text", 1.5, 2**200, 5e-324, None),
    *("\U0010ffff", {"\U0010ffff0": "\U0010ffff1"}, "\ufffd"),
]
NOT_HELD: list[Any] = [math.nan, [math.inf], "\ud800", "\0", {"a\0": 1}]


def asked(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    schema = url.rpartition("=")[2]
    with psycopg.connect(servers.shared()) as session:
        session.execute(f"SET search_path = {schema}".encode())
        return session.execute(sql.encode(), values).fetchall()


def test_json_is_jsonb_where_jsonb_can_have_it(url: str, store: StateStore) -> None:
    store.upsert_intel_items_batch(
        make_item(f"{place}", claims_json=value, scores_json={"value": value})
        for place, value in enumerate(HELD + NOT_HELD)
    )
    store.write_telemetry("run-1", {"n": 3})
    found = asked(url, "SELECT claims, scores -> 'value' FROM bi_intel_items ORDER BY seq")
    assert [claims for claims, _ in found] == HELD + [None] * len(NOT_HELD)
    assert [value for _, value in found] == HELD + [None] * len(NOT_HELD)
    [(is_null,)] = asked(url, "SELECT claims IS NULL FROM bi_intel_items WHERE item_id = '6'")
    assert not is_null, "JSON's null is a value"
    assert asked(url, "SELECT (telemetry ->> 'n')::int FROM bi_telemetry") == [(3,)]


def test_json_that_no_cast_takes_is_null(url: str, store: StateStore) -> None:
    for text in ("", "not json", "[" * 20_000 + "]" * 20_000, "1e400000", '"\\ud83d"', "NaN", '{"a": 1,}'):
        assert asked(url, "SELECT as_jsonb(%s)", text) == [(None,)], text[:10]
    assert asked(url, "SELECT as_jsonb(NULL), unescape(NULL), as_timestamptz(NULL)") == [(None, None, None)]


def test_text_is_shown_as_it_was_written(url: str, store: StateStore) -> None:
    texts = ["a\0b", "\U0010ffff", "\U0010ffff0", "\U0010ffff\0\U0010ffff1", "plain"]
    for place, text in enumerate(texts):
        store.start_run(f"{place}{text}", text, {})
        store.finish_run(f"{place}{text}", text, text)
        store.upsert_intel_item(make_item(f"{place}{text}", f"{place}{text}", title=text, decision=text))
    shown = [text.replace("\0", "\ufffd") for text in texts]
    runs = asked(url, "SELECT run_id, run_type, status, notes FROM bi_runs WHERE run_id <> 'run-1' ORDER BY seq")
    assert runs == [(f"{place}{text}", text, text, text) for place, text in enumerate(shown)]
    items = asked(url, "SELECT item_id, run_id, title, decision FROM bi_intel_items ORDER BY seq")
    assert items == [(f"{place}{text}", f"{place}{text}", text, text) for place, text in enumerate(shown)]


def test_times_are_times(url: str, store: StateStore) -> None:
    store.upsert_intel_item(make_item())
    store.finish_run("run-1", "completed")
    run = store.get_run("run-1")
    assert run is not None
    [(started_at, finished_at)] = asked(url, "SELECT started_at, finished_at FROM bi_runs")
    assert (started_at, finished_at) == (run.started_at and datetime.fromisoformat(run.started_at), finished_at)
    assert finished_at - started_at == datetime.fromisoformat(run.finished_at or "") - started_at
    for text in ("", "now", "yesterday", "2026-99-99T00:00:00+00:00", "2026-01-01 00:00:00", "infinity"):
        assert asked(url, "SELECT as_timestamptz(%s)", text) == [(None,)], text
    assert asked(url, "SELECT as_timestamptz('2026-01-02T03:04:05+00:00')") == [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),)
    ]


def test_runs_that_are_being_pruned_are_not_shown(url: str, store: StateStore) -> None:
    store.upsert_intel_item(make_item())
    store.write_telemetry("run-1", {})
    schema = url.rpartition("=")[2]
    with psycopg.connect(servers.shared()) as session:
        session.execute(f"UPDATE {schema}.runs SET pruned_at = 'now'".encode())
    for view in ("bi_runs", "bi_intel_items", "bi_telemetry"):
        assert asked(url, f"SELECT count(*) FROM {view}") == [(0,)]


def test_role_that_may_read_the_views_may_do_nothing_else(url: str, store: StateStore) -> None:
    schema, role = url.rpartition("=")[2], f"analyst_{url.rpartition('=')[2]}"
    [block] = [block for block in sql_blocks() if "analyst" in block]
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        session.execute(f"CREATE ROLE {role}".encode())
        session.execute(block.replace("orchestrator", schema).replace("analyst", role).encode())
        session.execute(f"SET ROLE {role}; SET search_path = {schema}".encode())
        for view in ("bi_runs", "bi_intel_items", "bi_telemetry"):
            session.execute(f"SELECT * FROM {view}".encode()).fetchall()
        for statement in ("SELECT * FROM runs", "DELETE FROM bi_runs", "SELECT beat_all_1('{}')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.encode())


def sql_blocks() -> list[str]:
    """Return the SQL in the documentation."""
    text = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    return [block.partition("```")[0] for block in text.split("```sql\n")[1:]]


def test_queries_of_the_documentation_run(url: str, store: StateStore) -> None:
    store.upsert_intel_item(make_item(scores_json={"total": 0.5}))
    store.write_telemetry("run-1", {"pages": 7})
    queries = [query for block in sql_blocks() if "bi_" in block for query in block.split(";") if "SELECT" in query]
    queries = [query for query in queries if "GRANT" not in query]
    assert len(queries) >= 2
    for query in queries:
        assert asked(url, query.replace("orchestrator.", ""))


def test_store_with_partitions_is_a_store_like_any(url: str, tmp_path: Path) -> None:
    schema = url.rpartition("=")[2]
    [block] = [block for block in sql_blocks() if "PARTITION" in block]
    StateStore(url).close()
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        session.execute(block.replace("orchestrator", schema).encode())
    with StateStore(tmp_path / "state.db") as file, StateStore(url) as store:
        check(file, store, examples=20)
        items = store.count_intel_items()
        assert items > 0
    assert asked(url, "SELECT count(*) FROM bi_intel_items") == [(items,)]
    copied = copy_store(url, f"{url}_copy")
    assert copied.intel_items == items
    assert copied == copy_store(f"{url}_copy", tmp_path / "copy.db")


def test_engine_uses_none_of_it() -> None:
    room = ROOT / "python" / "orchestrator" / "state_store" / "_postgres"
    names = ("bi_runs", "bi_intel_items", "bi_telemetry", "as_jsonb", "as_timestamptz", "}.unescape(")
    for path in [*room.rglob("*.py"), *room.glob("*.sql")]:
        if path.name != "views.sql":
            text = Path(path).read_text(encoding="utf-8")
            assert [name for name in names if name in text] == [], path


def test_copy_brings_the_views(url: str, store: StateStore) -> None:
    store.write_telemetry("run-1", {"n": 3})
    copy_store(url, f"{url}_copy")
    [(telemetry,)] = asked(f"{url}_copy", "SELECT telemetry FROM bi_telemetry")
    assert telemetry == json.loads('{"n": 3}')
