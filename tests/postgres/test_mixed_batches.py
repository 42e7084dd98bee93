"""Batches of items of which some are there already, and items that another writer inserts meanwhile."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from orchestrator.state_store import InvalidValueError, StateStore

from tests import servers
from tests.helpers import in_threads, item_ids, make_item
from tests.postgres.test_batches import schema


def stored(store: StateStore) -> dict[str, Any]:
    return {item["item_id"]: item["title"] for item in store.iter_intel_items()}


def test_each_item_of_a_mixed_batch_is_told_apart(store: StateStore, url: str) -> None:
    """The batch has ids with NUL elsewhere than the server would sort them."""
    names = [f"{letter}{end}" for letter in "abcdefgh" for end in ("", "\0", "\0b", "é", "\U0010ffff")]
    kinds = [(number * 7 % 3, name) for number, name in enumerate(names)]
    old = [make_item(name, title="old") for kind, name in kinds if kind]
    store.upsert_intel_items_batch(old)
    rows = "SELECT count(*) FILTER (WHERE updated_at IS NULL), count(updated_at) FROM intel_items"
    with psycopg.connect(servers.shared(), autocommit=True, options=f"-c search_path={schema(url)}") as session:
        store.upsert_intel_items_batch(make_item(name, title="old" if kind == 1 else "new") for kind, name in kinds)
        changed = sum(kind == 2 for kind, _ in kinds)
        assert session.execute(rows.encode()).fetchall() == [(len(names) - changed, changed)]
    assert stored(store) == {name: "old" if kind == 1 else "new" for kind, name in kinds}
    assert item_ids(store) == [item["item_id"] for item in old] + [name for kind, name in kinds if not kind]


def test_an_item_that_another_inserts_meanwhile_is_no_error(store: StateStore, url: str) -> None:
    batch = [make_item(name, title="batch") for name in "amz"]
    with psycopg.connect(servers.shared(), options=f"-c search_path={schema(url)}") as session:
        store.upsert_intel_item(make_item("of the other"))
        session.execute("CREATE TEMPORARY TABLE one AS TABLE intel_items; UPDATE one SET item_id = 'm', seq = 1")
        session.execute("INSERT INTO intel_items TABLE one")

        def commit() -> None:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with psycopg.connect(servers.shared(), autocommit=True) as other:
                while other.execute(waiting).fetchall() == [(0,)]:
                    pass
            session.commit()

        def write() -> None:
            store.upsert_intel_items_batch(batch)

        in_threads([write, commit])
    assert {name: title for name, title in stored(store).items() if len(name) == 1} == dict.fromkeys("amz", "batch")


def test_batches_of_the_same_new_items_at_once_are_no_error(store: StateStore) -> None:
    for number in range(5):
        names = [f"{number} {name:04}" for name in range(700)]
        batches = [
            [make_item(name, title=f"{worker}") for name in names[:: 1 if worker % 2 else -1]] for worker in range(4)
        ]
        in_threads([partial(store.upsert_intel_items_batch, batch) for batch in batches])
        titles = [title for name, title in stored(store).items() if name in set(names)]
        assert len(titles) == 700
        assert len(set(titles)) == 1


def test_refused_batches_leave_a_session_that_works(store: StateStore) -> None:
    """What the server has skipped behind the failure is not believed to be prepared there."""
    batch = [make_item(f"{number:05}") for number in range(4_000)]
    # No index holds so long an id. It is in the fifth chunk, and the server is at the first when all have been sent.
    wrong = make_item("02200" + "".join(map(chr, range(0x4E00, 0x5A00))))
    for inside in (False, True):
        for count in (500, 4_000, 4_000):
            with store.transaction() if inside else nullcontext(), pytest.raises(InvalidValueError, match="index"):
                store.upsert_intel_items_batch([*batch[:count], wrong])
        store.upsert_intel_items_batch(batch)
    assert len(item_ids(store)) == len(batch)
