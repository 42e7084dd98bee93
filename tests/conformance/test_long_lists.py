"""Lists so long that a worker thread reads them."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from orchestrator.state_store import StateStore, StoreClosedError

from tests.conformance.conftest import Engine
from tests.helpers import Boom, Peer, in_threads, item_ids, make_item
from tests.programs import writers


def items(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        make_item(f"{index * 7919 % 10007:05}", title=f"é {index}", claims_json=[{"n": index}], **fields)
        for index in range(count)
    ]


def assert_equal(listed: list[Any], written: list[dict[str, Any]]) -> None:
    assert [item["item_id"] for item in listed] == [item["item_id"] for item in written]
    assert all(item == {**item, **given} for item, given in zip(listed, written, strict=True))


@pytest.mark.parametrize("count", [511, 512, 513, 768, 1024, 3000])
def test_long_list_is_what_was_written_in_its_order(engine: Engine, count: int) -> None:
    written = items(count, scores_json={"a": 0.1})
    store = engine.open()
    for run_id in ("run-0", "run-1", "run-2"):
        store.start_run(run_id, "daily", {})
    store.upsert_intel_items_batch([make_item("x", "run-0"), *written[: count // 2]])
    store.upsert_intel_items_batch([make_item("y", "run-2"), *written[count // 2 :]])
    with store:
        assert_equal(store.list_intel_items_for_run("run-1"), written)
        assert in_threads([lambda: len(item_ids(store))] * 4) == [count] * 4
    if engine.lasts:
        with engine.open(read_only=True) as store:
            assert_equal(store.list_intel_items_for_run("run-1"), written)


def test_long_list_is_one_moment_while_another_process_writes(begun: Engine) -> None:
    with begun.open(**begun.quick) as store:
        store.upsert_intel_items_batch(items(1500))
        with Peer(writers.flip, begun.location) as writer:
            assert writer.hear() == "ready"
            seen: list[set[str | None]] = []
            while len({next(iter(decisions)) for decisions in seen}) < 5:
                seen.append({item["decision"] for item in store.list_intel_items_for_run("run-1")})
                assert len(seen[-1]) == 1, "a list of two moments"
            writer.tell()
            assert writer.result() > 3


def test_long_list_inside_a_transaction_sees_what_it_wrote(engine: Engine) -> None:
    written = items(1200)
    with engine.open() as store:
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


def test_store_closed_by_another_thread_ends_long_lists_with_a_whole_list_or_an_error(begun: Engine) -> None:
    with begun.open() as store:
        store.upsert_intel_items_batch(items(2000))
    for _ in range(5):
        store = begun.open()
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
