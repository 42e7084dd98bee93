"""Messages quote no more than the beginning of an id, or of any other text: it may have a megabyte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import StateStore, StateStoreError

from tests.helpers import make_item

LONG = "\n" + "é" * 1_000_000
HUGE = -(10**5000)
"""What Python does not print: `repr` raises a ValueError."""

CALLS: dict[str, Callable[[StateStore], object]] = {
    "start_run": lambda store: store.start_run(LONG, "daily", {}),
    "start_run, type": lambda store: store.start_run(LONG, "other", {}, if_exists="return"),
    "start_run, settings": lambda store: store.start_run(LONG, "daily", {1, 2}),
    "start_run, if_exists": lambda store: store.start_run("new", "daily", {}, if_exists=LONG),  # type: ignore[arg-type]
    "finish_run": lambda store: store.finish_run("x" + LONG, "completed"),
    "finish_run, running": lambda store: store.finish_run(LONG, "running"),
    "finish_run, notes": lambda store: store.finish_run(LONG, "completed", 5),  # type: ignore[arg-type]
    "heartbeat": lambda store: store.heartbeat("x" + LONG),
    "heartbeat, status": lambda store: store.heartbeat("status"),
    "reopen_run": lambda store: store.reopen_run("x" + LONG),
    "reopen_run, status": lambda store: store.reopen_run("status"),
    "delete_run": lambda store: store.delete_run("x" + LONG),
    "delete_run, running": lambda store: store.delete_run(LONG),
    "write_telemetry": lambda store: store.write_telemetry("x" + LONG, 1),
    "write_telemetry, value": lambda store: store.write_telemetry(LONG, object()),
    "merge_telemetry": lambda store: store.merge_telemetry("x" + LONG, {"a": 1}),
    "merge_telemetry, value": lambda store: store.merge_telemetry(LONG, 5),  # type: ignore[arg-type]
    "recovered": lambda store: store.upsert_intel_item(make_item(LONG, "dead" + LONG)),
    "upsert_intel_item": lambda store: store.upsert_intel_item(make_item(LONG, "x" + LONG)),
    "upsert_intel_item, missing": lambda store: store.upsert_intel_item({"item_id": LONG}),
    "upsert_intel_item, list as id": lambda store: store.upsert_intel_item({**make_item(), "item_id": [LONG]}),
    "upsert_intel_item, value": lambda store: store.upsert_intel_item(make_item(LONG, claims_json=object())),
    "batch": lambda store: store.upsert_intel_items_batch([make_item(), make_item(LONG, "x" + LONG)]),
    "decide": lambda store: store.decide(LONG, "promote"),
    "decide, type": lambda store: store.decide(LONG, 5),  # type: ignore[arg-type]
    "decide_batch": lambda store: store.decide_batch({LONG: "promote"}),
    "decide_batch, type": lambda store: store.decide_batch({LONG: 5}),  # type: ignore[dict-item]
    "where, path": lambda store: store.list_intel_items(where={LONG: ("=", 1)}),
    "where, operator": lambda store: store.list_intel_items(where={"scores_json": (LONG, 1)}),
    "fields": lambda store: store.list_intel_items(fields=[LONG]),
    "filter": lambda store: store.list_intel_items(**{LONG: 1}),  # type: ignore[arg-type]
    "cursor": lambda store: store.list_intel_items(cursor=LONG),
    "since": lambda store: store.list_runs(since=LONG),
    "limit": lambda store: store.list_runs(limit=HUGE),
    "keep_last": lambda store: store.prune(keep_last=HUGE),
    "older_than": lambda store: store.recover_stale_runs(HUGE),
    "statement": lambda store: store.connection.execute(f"SELECT é{LONG}"),
    "token": lambda store: store.connection.execute(f"SELECT '{LONG}"),
    "parameter": lambda store: store.connection.execute(f"SELECT :{LONG.strip()}", {}),
    "parameter, type": lambda store: store.connection.execute("SELECT :a", {LONG: object()}),
    "row": lambda store: store.connection.execute("SELECT 1").fetchone()[LONG],
    "run, not entered": lambda store: store.run(LONG, "daily", {}).record,
    "strict": lambda _: StateStore(":memory:", strict=True).upsert_intel_item({**make_item(), LONG: 1}),
    "path": lambda store: StateStore(f"{store.db_path}/{LONG}"),
    "scheme": lambda _: StateStore("x" * 1_000_000 + "://host"),
    "backup": lambda store: store.backup(f"{store.db_path}/{LONG}"),
    "synchronous": lambda _: StateStore(":memory:", synchronous=LONG),  # type: ignore[arg-type]
    "busy_timeout": lambda _: StateStore(":memory:", busy_timeout=HUGE),
    "pool_size": lambda _: StateStore(":memory:", pool_size=HUGE),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Open a store with runs whose ids and statuses are long, one of them recovered."""
    with StateStore(tmp_path_factory.mktemp("messages") / "state.db") as store:
        store.start_run("dead" + LONG, "daily", {})
        store.recover_stale_runs(0, LONG)
        store.start_run(LONG, "daily", {})
        store.start_run("status", "daily", {})
        store.finish_run("status", LONG)
        yield store


@pytest.mark.parametrize("name", CALLS)
def test_message_is_short_whatever_it_quotes(store: StateStore, name: str) -> None:
    with pytest.raises((StateStoreError, TypeError, IndexError)) as caught:
        CALLS[name](store)
    message = str(caught.value)
    assert len(message) < 1500
    assert "\n" not in message


def test_text_of_200_characters_is_quoted_whole(path: Path) -> None:
    with StateStore(path) as store:
        for run_id, quoted in (("é" * 200, f'"{"é" * 200}"'), ("é" * 201, f'"{"é" * 200}"...')):
            with pytest.raises(Exception, match="nothing was changed") as caught:
                store.finish_run(run_id, "completed")
            assert str(caught.value) == f"finish_run {quoted}: there is no run {quoted}; nothing was changed"
