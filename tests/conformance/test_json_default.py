"""`json_default`: what JSON does not know becomes what it knows, by a function of the caller's, for a whole store."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd
import pytest
from orchestrator.state_store import InvalidTypeError, InvalidValueError, NestingTooDeepError, RunRecord, StateStore

from tests.conformance import seen
from tests.conformance.conftest import Engine
from tests.helpers import JSON_ERRORS, JSON_FIELDS, Boom, in_thread, item_ids, make_item

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
ODD = {"when": NOON, "tags": {"a"}, "deep": [{"price": Decimal("1.50")}]}
PLAIN = {"when": NOON.isoformat(), "tags": ["a"], "deep": [{"price": "1.50"}]}


def default(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"no {type(value).__name__}, please")


@pytest.fixture
def opened(engine: Engine) -> Iterator[Callable[..., StateStore]]:
    """Open a store with a `json_default`, and the run `run-1` in it."""
    stores = []

    def opened(json_default: Any = default, **options: Any) -> StateStore:
        store = engine.open(json_default=json_default, **options)
        stores.append(store)
        store.start_run("run-1", "daily", {})
        return store

    yield opened
    for store in stores:
        store.close()


@pytest.mark.parametrize("size", [1, 2, 600])
def test_items_settings_and_telemetry(opened: Callable[..., StateStore], size: int) -> None:
    store = opened()
    assert store.start_run("run-2", "daily", ODD).settings_snapshot_json == ODD
    store.write_telemetry("run-2", ODD)
    batch = [{**make_item(f"{index:03}"), **dict.fromkeys(JSON_FIELDS, ODD)} for index in range(size)]
    store.upsert_intel_items_batch(batch)
    store.upsert_intel_item(make_item("single", claims_json=[ODD]))
    run = store.get_run("run-2")
    assert isinstance(run, RunRecord)
    assert (run.settings_snapshot_json, store.get_telemetry("run-2")) == (PLAIN, PLAIN)
    *items, single = map(dict, store.list_intel_items_for_run("run-1"))
    assert [[item[field] for field in JSON_FIELDS] for item in items] == [[PLAIN] * 5] * size
    assert single["claims_json"] == [PLAIN]


@pytest.mark.parametrize(
    "content",
    [ODD, [1, object], {NOON: 1}, {(1, 2): 3}, [float("nan"), 2**70], "text", {"a": Ellipsis}, [[NOON] * 3] * 3],
    ids=repr,
)
def test_it_is_what_json_dumps_does_with_it(opened: Callable[..., StateStore], content: Any) -> None:
    store = opened()
    try:
        expected = json.loads(json.dumps(content, default=default))
    except JSON_ERRORS as error:
        with pytest.raises(type(error)):
            store.write_telemetry("run-1", content)
    else:
        store.write_telemetry("run-1", content)
        assert repr(store.get_telemetry("run-1")) == repr(expected)


def test_what_it_returns_may_need_it_again(opened: Callable[..., StateStore]) -> None:
    store = opened(lambda value: [value.day, value.replace(day=value.day - 1)] if value.day > 1 else "first")
    store.write_telemetry("run-1", NOON.replace(day=3))
    assert store.get_telemetry("run-1") == [3, [2, "first"]]


def test_it_is_not_called_for_what_json_knows(opened: Callable[..., StateStore]) -> None:
    called: list[Any] = []
    store = opened(called.append)
    store.write_telemetry("run-1", {"a": [1, 2.5, None, True, "é", float("inf"), 2**70, (1,), {1: 2}]})
    store.upsert_intel_items_batch([make_item(str(index), claims_json=[index]) for index in range(600)])
    assert called == []


def test_without_it_such_a_value_is_an_error(store: StateStore) -> None:
    with pytest.raises(InvalidTypeError, match="Object of type datetime is not JSON serializable"):
        store.write_telemetry("run-1", NOON)


def test_numbers_of_numpy_in_rows_of_a_frame(opened: Callable[..., StateStore]) -> None:
    store = opened(lambda value: value.item())
    frame = pd.DataFrame([make_item(name) for name in "ab"]).assign(scores_json=[1, 2])
    store.upsert_intel_items_batch(row for _, row in frame.iterrows())
    store.upsert_intel_item(make_item("c", scores_json={"total": frame["scores_json"].sum()}))
    assert [item["scores_json"] for item in store.list_intel_items()] == [1, 2, {"total": 3}]


class TestErrors:
    @pytest.mark.parametrize(
        ("raised", "error"),
        [(TypeError, InvalidTypeError), (ValueError, InvalidValueError), (RecursionError, NestingTooDeepError)],
    )
    @pytest.mark.parametrize("size", [2, 600])
    def test_they_name_item_and_field_and_lead_to_their_cause(
        self, opened: Callable[..., StateStore], raised: type[Exception], error: type[Exception], size: int
    ) -> None:
        cause = raised("no such thing")

        def failing(value: Any) -> Any:
            raise cause

        store = opened(failing)
        batch = [make_item(f"{index:03}") for index in range(size)]
        batch[-1]["evidence_json"] = [{"when": NOON}]
        with pytest.raises(error, match=rf'item {size - 1} \("{size - 1:03}"\): evidence_json: \w') as caught:
            store.upsert_intel_items_batch(batch)
        assert caught.value.__cause__ is cause
        assert seen.items(store) == []
        with pytest.raises(error, match=r'^write_telemetry "run-1": telemetry: '):
            store.write_telemetry("run-1", NOON)
        with pytest.raises(error, match=r'^start_run "run-2": settings_snapshot: '):
            store.start_run("run-2", "daily", {"when": NOON})
        assert store.get_run("run-2") is None

    def test_any_other_passes_untouched_with_a_note_of_where(self, opened: Callable[..., StateStore]) -> None:
        boom = Boom("mine")

        def failing(value: Any) -> Any:
            raise boom

        store = opened(failing)
        with pytest.raises(Boom) as caught:
            store.upsert_intel_items_batch([make_item("a"), make_item("b", claims_json=NOON)])
        assert caught.value is boom
        assert boom.__notes__ == ['upsert_intel_items_batch: item 1 ("b"): claims_json']
        assert seen.items(store) == []

    def test_a_circle_that_it_makes_is_found(self, opened: Callable[..., StateStore]) -> None:
        store = opened(lambda value: [value])
        with pytest.raises(InvalidValueError, match="Circular reference"):
            store.write_telemetry("run-1", NOON)

    @pytest.mark.parametrize("wrong", [5, "json", {}, True], ids=repr)
    def test_what_cannot_be_called_is_refused_at_once(self, engine: Engine, wrong: Any) -> None:
        with pytest.raises(InvalidTypeError, match=r"^json_default must be callable, or None, not \w+$"):
            engine.open(json_default=wrong)


class TestReentrancy:
    @pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside a transaction"])
    @pytest.mark.parametrize("size", [1, 600])
    def test_it_may_call_the_store(self, opened: Callable[..., StateStore], size: int, inside: bool) -> None:
        """It is called before the writer is asked for: the store would wait for itself."""

        def default(value: Any) -> Any:
            store.upsert_intel_item(make_item(f"seen-{value.day}"))
            with store.transaction():
                store.heartbeat("run-1")
            return [len(item_ids(store)), store.count_runs()]

        def write() -> None:
            store.upsert_intel_items_batch(batch)
            store.write_telemetry("run-1", NOON.replace(day=2))

        store = opened(default, busy_timeout=5)
        batch = [make_item(f"{index:03}") for index in range(size)]
        batch[-1]["claims_json"] = NOON
        if inside:
            with store.transaction():
                write()
        else:
            write()
        assert item_ids(store) == ["seen-1", *(item["item_id"] for item in batch), "seen-2"]
        [item] = store.list_intel_items(where={"claims_json": ("exists", True), "claims_json[0]": ("exists", True)})
        assert (item["claims_json"], store.get_telemetry("run-1")) == ([1, 1], [size + 2, 1])

    def test_other_threads_write_while_it_runs(self, opened: Callable[..., StateStore]) -> None:
        called = []

        def default(value: Any) -> Any:
            called.append(value)
            in_thread(partial(store.upsert_intel_item, make_item("of another thread")))
            return "done"

        store = opened(default, busy_timeout=5)
        batch = [make_item(f"{index:03}") for index in range(600)]
        batch[-1]["claims_json"] = NOON
        store.upsert_intel_items_batch(batch)
        assert item_ids(store) == ["of another thread", *(item["item_id"] for item in batch)]
        assert called == [NOON], "it was called while the batch held the writer, which then gave way"

    def test_it_may_close_the_store(self, opened: Callable[..., StateStore]) -> None:
        store: StateStore = opened(lambda value: store.close())
        with pytest.raises(Exception, match="closed"):
            store.write_telemetry("run-1", NOON)

    def test_a_store_that_its_owner_is_asked_for_json_is_collected(self, engine: Engine) -> None:
        class Owner:
            def __init__(self) -> None:
                self.store = engine.open(json_default=self.encode)

            def encode(self, value: Any) -> Any:
                return str(value)

        owner = Owner()
        gone = weakref.ref(owner)
        owner.store.start_run("run-1", "daily", NOON)
        del owner
        gc.collect()
        assert gone() is None
