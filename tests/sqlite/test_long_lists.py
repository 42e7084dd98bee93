"""Damage far down a long list, and calls from within it."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import CorruptDatabaseError, InvalidJSONError, StateStore

from tests.conformance.test_long_lists import assert_equal, items
from tests.helpers import make_item, plain_sqlite


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


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside a transaction"])
def test_finalizers_may_call_the_store_in_the_middle_of_a_long_list(run_path: Path, inside: bool) -> None:
    """They run on the thread that converts: a reader that waited for it would keep the only connection from them."""
    written = items(5000)
    with StateStore(run_path, pool_size=1, synchronous="NORMAL") as store:
        store.upsert_intel_items_batch(written)
        seen: list[Any] = []

        def call(phase: str, _: dict[str, int]) -> None:
            if phase == "start" and len(seen) < 5:
                store.upsert_intel_item(make_item("finalizer", "run-2"))
                seen.append(store.get_intel_item("finalizer"))

        store.start_run("run-2", "daily", {})
        with store.transaction() if inside else contextlib.nullcontext():
            gc.callbacks.append(call)
            try:
                assert_equal(store.list_intel_items_for_run("run-1"), written)
            finally:
                gc.callbacks.remove(call)
        assert len(seen) == 5
        assert all(seen)
