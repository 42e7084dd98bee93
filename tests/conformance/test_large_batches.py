"""Batches so large that they are encoded while they are written, and what in them cannot be."""

from __future__ import annotations

import json
import math
import threading
from collections import UserDict
from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import pytest
from orchestrator.state_store import MissingFieldError, RunNotFoundError, StateStore

from tests.conformance.conftest import Engine
from tests.conformance.seen import assert_sound, everything
from tests.helpers import Peer, item_ids, make_item
from tests.programs import writers


class Level(IntEnum):
    HIGH = 3


class Document(dict[str, Any]):
    pass


UNUSUAL: dict[str, Callable[[dict[str, Any]], Any]] = {
    "NaN": lambda item: {**item, "scores_json": {"a": math.nan}},
    "subclass of int": lambda item: {**item, "claims_json": [Level.HIGH]},
    "subclass of dict as a value": lambda item: {**item, "claims_json": Document(a=1)},
    "large integer": lambda item: {**item, "claims_json": 2**80},
    "key that is no text": lambda item: {**item, "claims_json": {1: 2, None: 3}},
    "subclass of dict": Document,
    "proxy": MappingProxyType,
    "UserDict": UserDict,
}


def large(count: int = 1000) -> list[Any]:
    return [make_item(f"{index:04}", claims_json=[index]) for index in range(count)]


@pytest.mark.parametrize("kind", ["nothing", *UNUSUAL])
def test_large_batch_with_something_unusual_late_is_written_whole(store: StateStore, kind: str) -> None:
    batch = large()
    if kind != "nothing":
        batch[600] = UNUSUAL[kind](batch[600])
    store.upsert_intel_items_batch(batch)
    items: list[Any] = store.list_intel_items_for_run("run-1")
    for field in ("claims_json", "scores_json"):
        expected = [json.loads(json.dumps(item.get(field, {}))) for item in batch]
        assert repr([item[field] for item in items]) == repr(expected)
    assert [item["item_id"] for item in items] == [item["item_id"] for item in batch]


@pytest.mark.parametrize("unusual", [False, True])
@pytest.mark.parametrize(
    ("position", "bad", "error"),
    [
        (700, {"item_id": "bad"}, MissingFieldError),
        (700, make_item("bad", claims_json={1, 2}), TypeError),
        (700, make_item("bad", title=None), TypeError),
        (800, make_item("bad", run_id="run-9"), RunNotFoundError),
        (10, make_item("bad", run_id="run-9"), RunNotFoundError),
    ],
    ids=["missing", "json", "type", "run", "run in the first slice"],
)
def test_large_batch_with_one_bad_item_writes_nothing_and_says_which(
    store: StateStore, position: int, bad: dict[str, Any], error: type[Exception], unusual: bool
) -> None:
    store.upsert_intel_item(make_item("0000", title="before"))
    before = everything(store)
    batch = large()
    batch[position] = bad
    if unusual:
        batch[900] = UNUSUAL["NaN"](batch[900])
    with pytest.raises(error, match=rf"\b{position}\b"):
        store.upsert_intel_items_batch(batch)
    assert everything(store) == before
    store.upsert_intel_items_batch(large())
    assert len(item_ids(store)) == 1000


def test_item_given_twice_far_apart_in_a_batch_the_last_wins(store: StateStore) -> None:
    batch = large()
    for index in (300, 600, 999):
        batch[index] = make_item("0005", title=f"{index}")
    store.upsert_intel_items_batch(batch)
    items = store.list_intel_items_for_run("run-1")
    assert [item["item_id"] for item in items] == [f"{index:04}" for index in range(999) if index not in (300, 600)]
    assert items[5]["title"] == "999"


def test_large_batch_in_a_transaction_is_undone_alone(store: StateStore) -> None:
    bad = large()
    bad[700] = make_item("bad", run_id="run-9")
    with store.transaction():
        store.upsert_intel_item(make_item("first"))
        with pytest.raises(RunNotFoundError, match=r"\b700\b"):
            store.upsert_intel_items_batch(bad)
        assert item_ids(store) == ["first"]
        store.upsert_intel_items_batch([*large(600), UNUSUAL["NaN"](make_item("last"))])
        assert len(item_ids(store)) == 602
    assert len(item_ids(store)) == 602


def test_another_process_writes_while_busy_threads_keep_a_large_batch_from_its_end(begun: Engine) -> None:
    with Peer(writers.batches_beside_busy_threads, begun.location, 16, 1) as peer:
        assert peer.hear() == "ready"
        with begun.open(busy_timeout=10) as store:
            for index in range(10):
                store.upsert_intel_item(make_item(f"other-{index}"))
        assert peer.result() == 1
    with begun.open() as store:
        names = set(item_ids(store))
        assert names == {f"other-{index}" for index in range(10)} | {f"0-{i}" for i in range(3000)}
        assert_sound(store)


def test_large_batches_of_several_threads_do_not_mix(begun: Engine) -> None:
    """Each thread gives every item its own title: a list must find all of them alike."""
    with begun.open(**begun.quick) as store:
        store.upsert_intel_items_batch(large(800))
        stop = threading.Event()
        torn: list[set[str]] = []

        def write(thread: int) -> None:
            for round_ in range(8):
                store.upsert_intel_items_batch({**item, "title": f"{thread}-{round_}"} for item in large(800))

        def read() -> None:
            while not stop.is_set():
                titles = {item["title"] for item in store.list_intel_items_for_run("run-1")}
                if len(titles) != 1:
                    torn.append(titles)

        reader = threading.Thread(target=read)
        writing = [threading.Thread(target=write, args=(thread,)) for thread in range(2)]
        for each in (reader, *writing):
            each.start()
        for each in writing:
            each.join()
        stop.set()
        reader.join()
        assert torn == []
        assert len(item_ids(store)) == 800
