"""`where` on JSON that other programs wrote, valid or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.state_store import InvalidJSONError, StateStore

from tests.conformance.test_where import MISSING, Steps, all_paths, asked, found, holds, lookup, paths, written
from tests.helpers import make_item, plain_sqlite

DEEP = 50_000
OF_OTHERS = [
    *(
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1}, "a": 3}',
        '{"a": {"b": 1}, "\\u0061": {"total": 80}}',
        '{"a":[1,2],"a":[3]}',
    ),
    *(' {"a" :\t[ 1 ,\n2 ] , "b":{}\r} ', "[]", "[[]]", "{}", "5", '"ab"', "null", "NaN", "[NaN, -Infinity, Infinity]"),
    *('{"a": NaN}', '{"a": 1e400}', '{"a": -0}', '{"a": 1E2}', '{"a": 1.50}', '{"a": "\\ud83d\\ude00"}', '{"a": "😀"}'),
    *('{"a": "\\ud83d"}', '{"a": "\\/\\u0000"}', '{"\\ud800": 1}', '{"": {"": 0}}', '{"a": "\\u00E9"}'),
    f'{{"a": {"9" * 4300}}}',
    *("", " ", "{", '{"a": 1', '{"a": 1,}', "{'a': 1}", "{a: 1}", '{"a": 01}', '{"a": 1.}', '{"a": .5}', '{"a": +1}'),
    *(
        '{"a": 1} {"a": 1}',
        '{"a": "\n"}',
        '{"a": "\\x"}',
        '{"a": "\\u12g4"}',
        '{"a" 1}',
        '{"a": nul}',
        "\ufeff{}",
        "[1,]",
    ),
    *('{"a": True}', '{"a": -}', '{"a": 1, "b": ]}', "// {}", '{"a": 1}\xa0', '{"a": -NaN}', '{"a": 0x10}', "[1 2]"),
    f'{{"a": {"9" * 4301}}}',
]


def found_ids(store: StateStore, where: Any) -> list[str]:
    return [item["item_id"] for item in store.list_intel_items(where=where, fields=["item_id"])]


@pytest.fixture(scope="module")
def of_others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateStore]:
    path = tmp_path_factory.mktemp("others") / "state.db"
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{index}") for index in range(len(OF_OTHERS)))
    sql = "UPDATE intel_items SET scores_json = (SELECT value FROM json_each(?) WHERE key = CAST(item_id AS INTEGER))"
    plain_sqlite(path, (sql, [json.dumps(OF_OTHERS)]))
    with StateStore(path) as store:
        yield store


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return MISSING


@settings(max_examples=300)
@given(st.sampled_from([steps for text in OF_OTHERS for steps in all_paths(parsed(text))]) | paths, asked())
def test_json_of_other_programs_is_understood_as_the_json_module_does(
    of_others: StateStore, path: Steps, test: tuple[str, Any]
) -> None:
    values = [parsed(text) for text in OF_OTHERS]
    expected = [
        str(index)
        for index, each in enumerate(values)
        if holds(MISSING if each is MISSING else lookup(each, path), *test)
    ]
    assert found(of_others, {f"scores_json{written(path)}": test}) == expected


def test_row_whose_json_is_none_does_not_fail_a_query_that_does_not_return_it(of_others: StateStore) -> None:
    assert len(of_others.list_intel_items(where={"scores_json.a": ("=", 2)})) == 1
    assert of_others.count_intel_items(where={"scores_json": ("exists", False)}) == 28
    with pytest.raises(InvalidJSONError, match=r"^list_intel_items: item .*scores_json"):
        of_others.list_intel_items(where={"scores_json": ("exists", False)})


@pytest.mark.parametrize("depth", [900, DEEP, 1_000_000])
def test_json_of_any_depth_is_looked_into(run_path: Path, depth: int) -> None:
    with StateStore(run_path) as store:
        store.upsert_intel_items_batch([make_item("deep"), make_item("broken"), make_item("flat", claims_json=[7])])
    text = " || ".join(f"replace(hex(zeroblob({depth})), '00', '{bracket}')" for bracket in "[]")
    for name, end in (("deep", ", 7]"), ("broken", "], 7]")):
        sql = f"UPDATE intel_items SET claims_json = '[' || {text} || '{end}' WHERE item_id = '{name}'"
        plain_sqlite(run_path, sql)
    with StateStore(run_path) as store:
        assert found_ids(store, {"claims_json[1]": ("=", 7)}) == ["deep"]
        assert found_ids(store, {"claims_json": ("contains", 7)}) == ["deep", "flat"]
        assert found_ids(store, {f"claims_json{'[0]' * 800}": ("!=", None)}) == ["deep"]
        assert found_ids(store, {"claims_json": ("exists", False)}) == ["broken"]


def test_json_that_is_bytes_matches_and_what_is_no_text_does_not(run_path: Path) -> None:
    with StateStore(run_path) as store:
        store.upsert_intel_items_batch([make_item("blob"), make_item("no UTF-8"), make_item("right")])
    plain_sqlite(run_path, "UPDATE intel_items SET scores_json = CAST('{}' AS BLOB) WHERE item_id = 'blob'")
    plain_sqlite(run_path, "UPDATE intel_items SET scores_json = CAST(x'22ff22' AS TEXT) WHERE item_id = 'no UTF-8'")
    with StateStore(run_path) as store:
        assert found_ids(store, {"scores_json": ("exists", True)}) == ["blob", "right"]
        assert found_ids(store, {"scores_json": ("exists", False)}) == ["no UTF-8"]
