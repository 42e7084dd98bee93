"""Programs whose disk fails."""

import contextlib
import resource
import warnings
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.exits import item

BLOB = "x" * 50_000
LARGE = 200
"""How many items of ten such are more than a transaction keeps in memory, so that it fails before it commits."""


def big(name: str) -> dict[str, Any]:
    """Return an item that takes some room."""
    return {**item(name), "claims_json": [BLOB]}


def limit_files(size: int | None) -> None:
    """Let no file of this process grow beyond `size` bytes."""
    if size is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))


def items(store: StateStore) -> list[str]:
    """Return the ids of all items."""
    return [each["item_id"] for each in store.list_intel_items_for_run("run-1")]


def fill_by_calls(store: StateStore, batch: int) -> dict[str, Any]:
    """Write until a call fails."""
    acknowledged: list[str] = []
    for index in range(2000):
        names = [f"{index}-{part}" for part in range(batch)]
        try:
            store.upsert_intel_items_batch(big(name) for name in names)
        except StateStoreError as error:
            return {"error": type(error).__name__, "acknowledged": acknowledged, "failed": names}
        acknowledged += names
    raise AssertionError("the disk did not fill up")


def fill_by_transaction(store: StateStore, swallow: bool) -> dict[str, Any]:
    """Write too much in one transaction, whose body goes on after errors if `swallow`; return how it ended."""
    inside = []
    try:
        with store.transaction():
            for index in range(LARGE):
                try:
                    store.upsert_intel_item({**item(f"{index}"), "claims_json": [BLOB * 10]})
                except StateStoreError as error:
                    inside.append(type(error).__name__)
                    if not swallow:
                        raise
    except StateStoreError as error:
        return {"error": type(error).__name__, "acknowledged": [], "failed": [], "inside": sorted(set(inside))}
    raise AssertionError(f"the transaction ended in silence after {set(inside)}")


SHAPES = {
    "calls": lambda store: fill_by_calls(store, 1),
    "batches": lambda store: fill_by_calls(store, 20),
    "transaction": lambda store: fill_by_transaction(store, False),
    "transaction that swallows errors": lambda store: fill_by_transaction(store, True),
}


def fill(path: str, shape: str, limit: int | None) -> dict[str, Any]:
    """Fill the disk, read on, and write on once there is room."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_item(item("before"))
    say("opened")
    hear()
    limit_files(limit)
    outcome = SHAPES[shape](store)
    outcome["items"] = items(store)
    with contextlib.suppress(StateStoreError):
        store.upsert_intel_item(big("while full"))
        outcome["acknowledged"].append("while full")
    say("full")
    hear()
    limit_files(-1 if limit else None)
    with store.transaction():
        store.upsert_intel_item(big("after"))
    outcome["items after"] = items(store)
    return outcome


def open_with_warnings_for_errors(path: str) -> str | None:
    """Open a store where each warning is an error; return which it was."""
    warnings.simplefilter("error")
    try:
        StateStore(path).close()
    except UserWarning as warning:
        return type(warning).__name__
    return None


def open_and_count_warnings(path: str) -> list[list[str]]:
    """Open a store and write; return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with StateStore(path) as store:
            store.start_run("run-1", "daily", {})
    return [[each.category.__name__, str(each.message)] for each in caught]
