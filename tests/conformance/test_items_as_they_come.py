"""Items that are no plain dicts: rows of databases and of pandas, and subclasses of dict with ways of their own."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from orchestrator.state_store import MissingFieldError, StateStore

from tests.conformance import seen
from tests.helpers import item_ids, make_item

FULL = make_item("a", claims_json=[1], scores_json={"total": 5}, decision="promote", other=object())


class Record:
    """A row as asyncpg has it: no Mapping; it iterates over its values, and is asked by position as well."""

    def __init__(self, item: dict[str, Any]) -> None:
        self._item = item

    def __getitem__(self, key: str | int) -> Any:
        return self._item[key] if isinstance(key, str) else list(self._item.values())[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._item.values())

    def __len__(self) -> int:
        return len(self._item)

    def keys(self) -> Iterator[str]:
        return iter(self._item.keys())


class Lazy(dict[str, Any]):
    """Holds what makes a value, and has a `[]` of its own that makes it. `dict.get` knows nothing of that."""

    asked: collections.Counter[str]

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__({key: lambda value=value: value for key, value in item.items()})
        self.asked = collections.Counter()

    def __getitem__(self, key: str) -> Any:
        self.asked[key] += 1
        return super().__getitem__(key)()


class Spelt(dict[str, Any]):
    """Finds its keys in any case, by `[]` and by `get`."""

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__({key.upper(): value for key, value in item.items()})

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key.upper())

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key.upper(), default)


KINDS: dict[str, Any] = {"Record": Record, "Series": pd.Series, "Lazy": Lazy, "Spelt": Spelt}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_stored_as_the_dict_would_be(store: StateStore, kind: str) -> None:
    store.upsert_intel_item(FULL)
    [expected] = seen.items(store)
    store.upsert_intel_item(KINDS[kind]({**FULL, "item_id": "b"}))
    store.upsert_intel_items_batch([make_item("c"), KINDS[kind]({**FULL, "item_id": "d"})])
    by_id = {item["item_id"]: item for item in seen.items(store)}
    for item_id in "bd":
        same = {**by_id[item_id], "item_id": "a"}
        assert {key: same[key] for key in FULL if key != "other"} == {key: FULL[key] for key in FULL if key != "other"}
        assert same.keys() == expected.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_lacks_has_its_default(store: StateStore, kind: str) -> None:
    store.upsert_intel_item(KINDS[kind](make_item("a")))
    [item] = store.list_intel_items_for_run("run-1")
    assert (item["claims_json"], item["scores_json"], item["decision"]) == ([], {}, None)


@pytest.mark.parametrize("kind", [*KINDS, "defaultdict"])
def test_what_it_must_have_and_lacks_is_named(store: StateStore, kind: str) -> None:
    bare = make_item("b")
    del bare["title"]
    item = {**KINDS, "defaultdict": lambda item: collections.defaultdict(None, item)}[kind](bare)
    with pytest.raises(MissingFieldError, match=r'item 1 \("b"\): title is missing$'):
        store.upsert_intel_items_batch([make_item("a"), item])
    assert seen.items(store) == []


def test_rows_of_a_frame(store: StateStore) -> None:
    frame = pd.DataFrame([make_item(name, scores_json={"total": 1}) for name in "abc"])
    store.upsert_intel_items_batch(row for _, row in frame.iterrows())
    store.upsert_intel_items_batch(frame.assign(item_id=list("def")).to_dict("records"))
    assert item_ids(store) == list("abcdef")


def test_defaultdict_gives_what_is_required_and_nothing_else(store: StateStore) -> None:
    item: dict[str, Any] = collections.defaultdict(lambda: "made up", item_id="a", run_id="run-1")
    store.upsert_intel_item(item)
    [stored] = store.list_intel_items_for_run("run-1")
    assert (stored["title"], stored["item_type"], stored["summary"]) == ("made up", "made up", "made up")
    assert (stored["claims_json"], stored["decision"]) == ([], None)


def test_each_value_is_asked_for_once_and_no_other(store: StateStore) -> None:
    item = Lazy(FULL)
    store.upsert_intel_item(item)
    assert item.asked == dict.fromkeys(FULL.keys() - {"other"}, 1)


def test_get_of_its_own_is_asked_for_what_may_be_missing(store: StateStore) -> None:
    class Scored(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            return {"total": 7} if key == "scores_json" else super().get(key, default)

    store.upsert_intel_item(Scored(make_item("a")))
    [item] = store.list_intel_items_for_run("run-1")
    assert (item["scores_json"], item["claims_json"]) == ({"total": 7}, [])


@pytest.mark.parametrize("error", [KeyError, IndexError, AttributeError, OSError])
@pytest.mark.parametrize("field", ["title", "claims_json"])
def test_what_its_own_code_raises_passes_untouched(store: StateStore, field: str, error: type[Exception]) -> None:
    class Failing(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key == field:
                raise raised
            return super().__getitem__(key)

    raised = error("no network")
    with pytest.raises(error) as caught:
        store.upsert_intel_items_batch([make_item("b"), Failing(FULL)])
    assert caught.value is raised
    assert raised.__notes__ == ["upsert_intel_items_batch: item 1"]
    assert seen.items(store) == []


class Keyless:
    def __getitem__(self, key: str) -> Any:
        return FULL[key]


class Closed:
    def keys(self) -> list[str]:
        return list(FULL)


@pytest.mark.parametrize(
    "item",
    [Keyless(), Closed(), dict, pd.DataFrame, ("item_id", "a"), "text"],
    ids=["keyless", "closed", "class", "frame class", "pair", "text"],
)
def test_without_keys_or_without_values_it_is_no_item(store: StateStore, item: Any) -> None:
    with pytest.raises(TypeError, match=r"item 1: must be a dict, or have keys\(\) and \[\], not \w+$"):
        store.upsert_intel_items_batch([make_item("a"), item])
    assert seen.items(store) == []


def test_large_batch_of_rows(store: StateStore) -> None:
    store.upsert_intel_items_batch(Record(make_item(f"{index:04}")) for index in range(1000))
    assert len(item_ids(store)) == 1000
