"""Programs whose disk fails."""

import contextlib
import itertools
import random
import resource
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from orchestrator.state_store import DiskFullError, StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.exits import item

BLOB = "x" * 50_000
PATIENCE = 12
"""How many calls in a row have to fail before there is no room."""
FIRST_REGION = 4062
"""How many frames the first region of a `-shm` names."""
FRAMES = 16
"""Where in it their number is: https://www.sqlite.org/walformat.html#the_wal_index_file_format"""
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


def fail_to_spill(store: StateStore) -> None:
    """Write more in a transaction than fits into memory, where there is no room for it."""
    with contextlib.suppress(DiskFullError), store.transaction():
        for part in range(LARGE):
            store.upsert_intel_item({**item(f"never-{part}"), "claims_json": [BLOB * 10]})
        raise AssertionError("there was room")


def fill_again_and_again(path: str, synchronous: Literal["FULL", "NORMAL"]) -> dict[str, Any]:
    """Write until nothing more can be written, wait for room, and so on until told to end; return what was told."""
    told: dict[str, Any] = {"acknowledged": [], "unknown": [], "errors": {}}
    rng = random.Random(0)
    with StateStore(path, synchronous=synchronous) as store:
        store.start_run("run-1", "daily", {})
        refused = 0
        for index in itertools.count():
            batch = rng.choice((1, 20, 200))
            try:
                store.upsert_intel_items_batch(
                    {**item(f"{index}-{part}"), "summary": rng.randbytes(500).hex()} for part in range(batch)
                )
            except StateStoreError as error:
                name = type(error).__name__
                told["errors"][name] = told["errors"].get(name, 0) + 1
                if name == "CommitOutcomeUnknownError":
                    told["unknown"].append((index, batch))
                refused += 1
                if refused == PATIENCE:
                    fail_to_spill(store)
                    say("full")
                    if hear() == "end":
                        return told
            else:
                told["acknowledged"].append((index, batch))
                if refused >= PATIENCE:
                    say("room")
                    hear()
                refused = 0
    raise AssertionError("the end was not told")


def fail_four_times(path: str) -> list[str]:
    """Write an item, and fail to write four others once told; return the errors."""
    errors = []
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(item("first"))
        say()
        hear()
        for name in "abcd":
            try:
                store.upsert_intel_item(item(name))
            except StateStoreError as error:
                errors.append(f"{type(error).__name__}: {error}")
        say()
        hear()
    return errors


def commit_until_it_fails(path: str) -> None:
    """Write until a log has nearly as many frames as a region of its index names, and until that fails once told."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    for number in itertools.count():
        frames = struct.unpack_from("I", Path(f"{path}-shm").read_bytes(), FRAMES)[0]
        if frames > FIRST_REGION - 100:
            break
        store.upsert_intel_items_batch(big(f"{number}-{part}") for part in range(5))
    say()
    hear()
    for number in itertools.count():
        try:
            store.upsert_intel_item(item(f"small-{number}"))
        except StateStoreError as error:
            say(f"small-{number} {type(error).__name__}: {error}")
            hear()


def write_a_large_log(path: str) -> None:
    """Have a log of which more than a region of its index tells, and wait to be killed."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_items_batch(big(f"{number}") for number in range(2 * LARGE))
    say()
    hear()


@contextlib.contextmanager
def outcome_told() -> Iterator[None]:
    """Say what comes of what is done inside, and wait to be killed."""
    try:
        yield
        say("done")
    except StateStoreError as error:
        say(f"{type(error).__name__}: {error}")
    hear()


def write_when_told(path: str, name: str) -> None:
    """Write an item when told, and say what came of it."""
    store = StateStore(path)
    say()
    hear()
    with outcome_told():
        store.upsert_intel_item(item(name))


def go_on_when_told(path: str) -> None:
    """Write more in a transaction than fits into memory, and one item more when told; say what came of it."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    with outcome_told(), store.transaction():
        for part in range(LARGE):
            store.upsert_intel_item({**item(f"never-{part}"), "claims_json": [BLOB * 10]})
        say()
        hear()
        store.upsert_intel_item(big("never"))


def commit_as_told(path: str) -> None:
    """Write an item, and another one in a transaction, which is committed when told; say what came of it."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_item(item("first"))
    with outcome_told(), store.transaction():
        store.upsert_intel_item(item("failed"))
        say("inside")
        hear()
