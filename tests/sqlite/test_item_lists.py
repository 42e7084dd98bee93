"""Lists of items in files that other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from orchestrator.state_store import (
    CorruptDatabaseError,
    InvalidJSONError,
    StateStore,
)

from tests import predecessor
from tests.conformance.test_item_lists import COLUMNS, ITEMS, OLDEST_FIRST, paged
from tests.helpers import plain_sqlite, put, value


def test_field_that_is_not_asked_for_is_not_decoded(run_path: Path) -> None:
    with StateStore(run_path) as store:
        put(store, "a")
    plain_sqlite(run_path, "UPDATE intel_items SET claims_json = '{', title = x'ff'")
    with StateStore(run_path) as store:
        assert store.list_intel_items(fields=["item_id", "scores_json"]) == [{"item_id": "a", "scores_json": {}}]
        for name, error in (("claims_json", InvalidJSONError), ("title", CorruptDatabaseError)):
            with pytest.raises(error, match=rf'^list_intel_items: item "a".*{name}'):
                store.list_intel_items(fields=["summary", name])
            with pytest.raises(error, match=rf'^iter_intel_items: item "a".*{name}'):
                list(store.iter_intel_items(fields=[name]))


def test_items_of_a_predecessors_file_are_read_without_migrating_it(path: Path) -> None:
    plain_sqlite(path, *predecessor.file(indexes=True, journal="DELETE"))
    plain_sqlite(path, "DELETE FROM intel_items")
    values = ", ".join(f"value ->> '{column}'" for column in COLUMNS)
    sql = f"INSERT INTO intel_items({', '.join(COLUMNS)}) SELECT {values} FROM json_each(?)"
    plain_sqlite(path, (sql, [json.dumps([{**item, "run_id": "old-run"} for item in ITEMS])]))
    before = path.read_bytes()
    with StateStore(path, read_only=True) as store:
        expected = [item["item_id"] for item in OLDEST_FIRST]
        assert paged(store, 30) == paged(store, 30, run_id="old-run") == expected
        for name, wanted in (("item_type", "note"), ("decision", "block")):
            filters: dict[str, Any] = {name: wanted}
            filtered = [item["item_id"] for item in OLDEST_FIRST if item[name] == wanted]
            assert paged(store, 9, **filters) == filtered
            assert store.count_intel_items(**filters) == len(filtered)
        assert store.count_intel_items(undecided=True) == sum(item["decision"] is None for item in ITEMS)
        item = store.get_intel_item("item-7")
        assert item is not None
        assert item["title"] == "é 7"
    assert path.read_bytes() == before


def test_item_of_another_program_that_is_no_json_is_named(run_path: Path) -> None:
    with StateStore(run_path) as store:
        put(store, "a", "b")
    plain_sqlite(run_path, "UPDATE intel_items SET claims_json = '{' WHERE item_id = 'b'")
    with StateStore(run_path) as store:
        with pytest.raises(InvalidJSONError, match=r'^get_intel_item: item "b", claims_json: not JSON'):
            store.get_intel_item("b")
        with pytest.raises(InvalidJSONError, match=r'^list_intel_items: item "b", claims_json: not JSON'):
            store.list_intel_items()
        assert store.count_intel_items() == 2


@pytest.mark.parametrize("damage", ["x'ff'", "CAST(x'32ff' AS TEXT)"], ids=["blob", "no UTF-8"])
@pytest.mark.parametrize("filters", [{}, {"run_id": "run-1"}, {"item_type": "note"}])
def test_time_of_another_program_that_is_no_text_ends_a_page_with_an_error(
    run_path: Path, damage: str, filters: dict[str, Any]
) -> None:
    with StateStore(run_path) as store:
        put(store, "a", "b", "c")
    plain_sqlite(run_path, f"UPDATE intel_items SET created_at = {damage} WHERE item_id <> 'c'")
    with StateStore(run_path) as store:
        assert len(store.list_intel_items(fields=["title"], run_id="run-1")) == 3
        with pytest.raises(CorruptDatabaseError, match=r"^list_intel_items: "):
            paged(store, 2, **filters)


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 7, 64])
def test_items_far_apart_in_the_file_are_found_in_their_order_by_an_index(
    run_path: Path, order: Literal["oldest", "newest"], limit: int
) -> None:
    """Rows of others lie between: the table is not read that far."""
    values = ", ".join(f"value ->> '{column}'" for column in COLUMNS)
    sql = f"INSERT INTO intel_items({', '.join(COLUMNS)}) SELECT {values} FROM json_each(?)"
    plain_sqlite(run_path, (sql, [json.dumps([{**item, "run_id": "run-1"} for item in ITEMS])]))
    plain_sqlite(run_path, "UPDATE intel_items SET rowid = rowid * 100000")
    filters: list[dict[str, Any]] = [
        {"run_id": "run-1"},
        {"item_type": "note"},
        {"decision": "block"},
        {"undecided": False},
        {"since": "2001-01-01T00:00:00Z", "until": ITEMS[9]["created_at"]},
        {"since": ITEMS[9]["created_at"], "item_type": "note"},
        {"run_id": "run-1", "until": ITEMS[9]["created_at"]},
    ]
    with StateStore(run_path) as store:
        for each in filters:
            expected = [
                item["item_id"]
                for item in OLDEST_FIRST[:: 1 if order == "oldest" else -1]
                if each.get("item_type") in (None, item["item_type"])
                and each.get("decision") in (None, item["decision"])
                and not ("undecided" in each and item["decision"] is None)
                and each.get("since", "") <= item["created_at"] < each.get("until", "9")
            ]
            assert paged(store, limit, **each, order=order) == expected, each


def test_cursor_goes_on_with_rows_that_were_given_the_places_of_deleted_ones(run_path: Path) -> None:
    """SQLite gives the rowid of the last row again once that is deleted."""
    with StateStore(run_path) as store:
        put(store, "a", "b", "c", "d")
        cursor = store.list_intel_items(limit=3).next_cursor
        whole = store.list_intel_items(limit=4, order="oldest")
        assert whole.next_cursor is None
        put(store, "e")
        behind_d = store.list_intel_items(limit=4).next_cursor
        places = dict(store.connection.execute("SELECT item_id, rowid FROM intel_items").fetchall())
        for name in ("c", "d", "e"):
            store.delete_intel_item(name)
        assert [item["item_id"] for item in store.list_intel_items(cursor=cursor)] == []
        put(store, "new c")
        assert [item["item_id"] for item in store.list_intel_items(cursor=behind_d)] == ["new c"]
        put(store, "new d")
        assert places["d"] == value(store, "SELECT rowid FROM intel_items WHERE item_id = 'new d'")
        assert [item["item_id"] for item in store.list_intel_items(cursor=behind_d)] == ["new c", "new d"]
        assert [item["item_id"] for item in store.list_intel_items(cursor=cursor)] == ["new c", "new d"]
        put(store, "new e")
        assert [item["item_id"] for item in store.list_intel_items(cursor=behind_d)] == ["new c", "new d", "new e"]
