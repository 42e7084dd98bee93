"""Subclasses of StateStore: what the predecessor called in them, and this store does not, is no silent loss."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from orchestrator.state_store import StateStore

from tests.helpers import make_item
from tests.predecessor import PRIVATE


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("where", ["class", "mixin"])
def test_private_method_of_the_predecessor_is_warned_of_once(name: str, where: str) -> None:
    """Items were once changed, or tables made, by such a method, and then silently were not any more."""
    body = {name: lambda *_: None}
    bases = (type("Mixin", (), body), StateStore) if where == "mixin" else (StateStore,)
    with pytest.warns(UserWarning, match=rf"^Mine\.{name} has no effect: StateStore does not call it; .+$") as told:
        mine = type("Mine", bases, {} if where == "mixin" else body)
    [warning] = told
    assert warning.filename == __file__
    type("Again", (mine,), {})


def test_methods_of_ones_own_are_not_warned_of() -> None:
    class Mine(StateStore):
        def __init__(self, path: str) -> None:
            super().__init__(path)
            self._mine: list[str] = []

        def _note(self, item_id: str) -> None:
            self._mine.append(item_id)

        def upsert_intel_item(self, item: Any) -> None:
            self._note(item["item_id"])
            super().upsert_intel_item({**item, "title": "mine"})

    with warnings.catch_warnings(), Mine(":memory:") as store:
        warnings.simplefilter("error")
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item())
        assert [item["title"] for item in store.list_intel_items()] == ["mine"]
