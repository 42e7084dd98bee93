"""Lists so long that they are read while their items are made."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import CorruptDatabaseError, InvalidJSONError, StateStore, StoreClosedError

from tests.helpers import Boom, Peer, in_threads, item_ids, make_item, plain_sqlite
from tests.programs import writers


def items(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        make_item(f"{index * 7919 % 10007:05}", title=f"é {index}", claims_json=[{"n": index}], **fields)
        for index in range(count)
    ]


def assert_equal(listed: list[Any], written: list[dict[str, Any]]) -> None:
    assert [item["item_id"] for item in listed] == [item["item_id"] for item in written]
    assert all(item == {**item, **given} for item, given in zip(listed, written, strict=True))


@pytest.mark.parametrize("where", ["file", "memory", "read-only"])
@pytest.mark.parametrize("count", [511, 512, 513, 768, 1024, 3000])
def test_long_list_is_what_was_written_in_its_order(path: Path, where: str, count: int) -> None:
    written = items(count, scores_json={"a": 0.1})
    store = StateStore(":memory:" if where == "memory" else path)
    for run_id in ("run-0", "run-1", "run-2"):
        store.start_run(run_id, "daily", {})
    store.upsert_intel_items_batch([make_item("x", "run-0"), *written[: count // 2]])
    store.upsert_intel_items_batch([make_item("y", "run-2"), *written[count // 2 :]])
    if where == "read-only":
        store.close()
        store = StateStore(path, read_only=True)
    with store:
        assert_equal(store.list_intel_items_for_run("run-1"), written)
        assert in_threads([lambda: len(item_ids(store))] * 4) == [count] * 4


def test_long_list_is_one_moment_while_another_process_writes(run_path: Path) -> None:
    with StateStore(run_path, synchronous="NORMAL") as store:
        store.upsert_intel_items_batch(items(1500))
        with Peer(writers.flip, str(run_path)) as writer:
            assert writer.hear() == "ready"
            seen: list[set[str | None]] = []
            while len({next(iter(decisions)) for decisions in seen}) < 5:
                seen.append({item["decision"] for item in store.list_intel_items_for_run("run-1")})
                assert len(seen[-1]) == 1, "a list of two moments"
            writer.tell()
            assert writer.result() > 3


@pytest.mark.parametrize("where", ["file", "memory"])
def test_long_list_inside_a_transaction_sees_what_it_wrote(path: Path, where: str) -> None:
    written = items(1200)
    with StateStore(":memory:" if where == "memory" else path) as store:
        store.start_run("run-1", "daily", {})
        with store.transaction():
            store.upsert_intel_items_batch(written)
            assert_equal(store.list_intel_items_for_run("run-1"), written)
            with contextlib.suppress(Boom), store.transaction():
                store.upsert_intel_items_batch({**item, "title": "undone"} for item in written)
                assert {item["title"] for item in store.list_intel_items_for_run("run-1")} == {"undone"}
                raise Boom
            assert_equal(store.list_intel_items_for_run("run-1"), written)
        assert_equal(store.list_intel_items_for_run("run-1"), written)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("title = CAST(x'61ff' AS TEXT)", CorruptDatabaseError),
        ("title = x'00ff'", CorruptDatabaseError),
        ("claims_json = 'nope'", InvalidJSONError),
    ],
    ids=["no UTF-8", "blob", "no JSON"],
)
@pytest.mark.parametrize("position", [0, 1000, 1999])
def test_damage_far_down_a_list_is_an_error_that_names_the_item(
    run_path: Path, damage: str, error: type[Exception], position: int
) -> None:
    written = items(2000)
    item_id = written[position]["item_id"]
    with StateStore(run_path) as store:
        store.upsert_intel_items_batch(written)
    plain_sqlite(run_path, f"UPDATE intel_items SET {damage} WHERE item_id = '{item_id}'")
    with StateStore(run_path, pool_size=1) as store:
        for _ in range(2):
            with pytest.raises(error, match=item_id):
                store.list_intel_items_for_run("run-1")
        store.upsert_intel_item(written[position])
        assert_equal(store.list_intel_items_for_run("run-1"), written)


def test_store_closed_by_another_thread_ends_long_lists_with_a_whole_list_or_an_error(run_path: Path) -> None:
    with StateStore(run_path) as store:
        store.upsert_intel_items_batch(items(2000))
    for _ in range(5):
        store = StateStore(run_path)
        listed = threading.Barrier(3)

        def read(store: StateStore = store, listed: threading.Barrier = listed) -> None:
            assert len(item_ids(store)) == 2000
            listed.wait()
            with contextlib.suppress(StoreClosedError):
                while True:
                    assert len(item_ids(store)) == 2000

        def close(store: StateStore = store, listed: threading.Barrier = listed) -> None:
            listed.wait()
            store.close()

        in_threads([read, read, close])
