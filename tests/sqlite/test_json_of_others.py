"""JSON that other programs wrote, and what they read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from orchestrator.state_store import InvalidJSONError, StateStore

from tests import predecessor
from tests.helpers import make_item, plain_sqlite

FOREIGN_TEXTS = [
    ' {"b" : 1 ,\n "a":\t[ ] } ',
    "-0",
    "-0.0",
    "[1e400, -1e400, 1e-400, 1E5, 1e+5, 0.1e1, 1.7976931348623159e308, 2.2250738585072011e-308]",
    "[NaN, Infinity, -Infinity]",
    "123456789012345678901234567890",
    "18446744073709551616",
    "9007199254740993.0",
    '"\\ud800"',
    '"\\ud83d\\ude00 \\ud83dx \\ude00\\ud83d"',
    '{"a": 1, "a": 2, "b": 3, "a": [4]}',
    '"\\u0000\\b\\f\\n\\r\\t\\"\\\\\\/"',
    '"\u007f \u2028 é 😀"',
    '{"$serde_json::private::Number": "1"}',
    "[" * 300 + "]" * 300,
    "null",
    '""',
]
INVALID_TEXTS = [
    "",
    " ",
    "nope",
    "{",
    "[1,]",
    "{'a': 1}",
    "01",
    "+1",
    "1 2",
    ".5",
    "1.",
    "nan",
    '"\t"',
    '"\\x"',
    "\ufeff1",
]

DEEP = {
    "two values": "1 2",
    "no colon": '{"secret" 1}',
    "a number for a key": '{5: "secret"}',
    "no comma": '["secret" 2]',
    "a bad escape": '"secret\\x"',
    "cut off": '["secret"',
    "trailing text": '"secret"] x',
}
"""What is no JSON, to be put where only the `json` module reads, which says things of its own."""


def write_texts(path: Path, texts: list[str]) -> None:
    """Write JSON columns as they stand, as another program would."""
    StateStore(path).close()
    sql = predecessor.UPSERT
    rows = [(sql, [f"{index:02}", "run-1", "t", text, f"{index:02}"]) for index, text in enumerate(texts)]
    plain_sqlite(path, predecessor.start_run("run-1"), *rows)


def test_texts_of_other_programs_are_read_as_the_json_module_reads_them(path: Path) -> None:
    write_texts(path, FOREIGN_TEXTS)
    with StateStore(path) as store:
        items = store.list_intel_items_for_run("run-1")
    assert [repr(item["claims_json"]) for item in items] == [repr(json.loads(text)) for text in FOREIGN_TEXTS]


@pytest.mark.parametrize("text", INVALID_TEXTS, ids=repr)
def test_text_that_is_no_json_is_an_error_that_names_the_item(path: Path, text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    write_texts(path, [text])
    with StateStore(path) as store:
        with pytest.raises(InvalidJSONError, match=r"00.*claims_json|claims_json.*00"):
            store.list_intel_items_for_run("run-1")
        store.upsert_intel_item(make_item("00", claims_json=["repaired"]))
        assert store.list_intel_items_for_run("run-1")[0]["claims_json"] == ["repaired"]


@pytest.mark.parametrize("depth", [0, 100, 300])
@pytest.mark.parametrize("kind", DEEP)
def test_text_that_is_no_json_deep_down_is_an_error_without_the_text(path: Path, kind: str, depth: int) -> None:
    write_texts(path, ["[]", "[" * depth + DEEP[kind] + "]" * depth])
    with (
        StateStore(path) as store,
        pytest.raises(InvalidJSONError, match=r"01.*claims_json|claims_json.*01") as caught,
    ):
        store.list_intel_items_for_run("run-1")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_written_is_read_by_the_json_module(path: Path) -> None:
    contents = [{1: math.inf, "\ud800": -0.0}, [2**70, 5e-324], "😀\0"]
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{index}", claims_json=each) for index, each in enumerate(contents))
    texts = plain_sqlite(path, "SELECT claims_json FROM intel_items ORDER BY item_id")
    assert [repr(json.loads(row[0])) for row in texts] == [repr(json.loads(json.dumps(each))) for each in contents]


@pytest.mark.parametrize("content", [b"[1]", b"\xef\xbb\xbf[1]"])
def test_json_that_was_bound_as_bytes_is_read(path: Path, content: bytes) -> None:
    """`orjson.dumps` returns bytes, and the predecessor's `json.loads` reads them."""
    write_texts(path, ["[]", "[2]"])
    plain_sqlite(path, f"UPDATE intel_items SET claims_json = x'{content.hex()}' WHERE item_id = '00'")
    plain_sqlite(path, "UPDATE runs SET settings_snapshot_json = x'7b7d'")
    with StateStore(path) as store:
        assert [item["claims_json"] for item in store.iter_intel_items()] == [json.loads(content), [2]]
        found = store.list_intel_items(where={"claims_json[0]": ("=", 1)})
        assert [item["item_id"] for item in found] == ["00"]
        assert store.count_intel_items(where={"claims_json[0]": ("=", 1)}) == 1
        assert store.list_runs()[0].settings_snapshot_json == {}
        assert {each.kind for each in store.check()} == {"stale_run"}
