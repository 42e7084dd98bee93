"""Deeply nested and circular JSON in threads of any stack size."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from orchestrator.state_store import StateStore

from tests.programs import plain
from tests.programs.exits import item

WRAP: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [value],
    "dict": lambda value: {"k": value},
    "tuple": lambda value: (value,),
}
KINDS = list(WRAP)
CYCLES = ["list", "dict", "both", "tuple", "far down"]

KEPT: list[Any] = []
"""Freeing a deep value takes stack in proportion on some versions of Python: not that of the small thread."""


def nested(depth: int, kind: str) -> Any:
    """Return a value of `depth` levels."""
    value: Any = 1
    for _ in range(depth):
        value = WRAP[kind](value)
    return value


def levels(value: Any) -> int:
    """Count the levels of what `nested` made."""
    depth = 0
    while value != 1:
        value = value["k"] if isinstance(value, dict) else value[0]
        depth += 1
    return depth


def circular(kind: str) -> Any:
    """Return a value that contains itself."""
    items: list[Any] = []
    table: dict[str, Any] = {"items": items}
    items.append({"list": items, "dict": table, "both": [table], "tuple": (items,), "far down": [[[[[items]]]]]}[kind])
    return {"deeper": [1, table]}


def on_stack(stack: int, work: Callable[[], None]) -> None:
    """Run a function in a thread with `stack` bytes."""
    threading.stack_size(stack)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def outcome(call: Callable[[], str]) -> str:
    """Return what a call returns, or the class of what it raises."""
    try:
        return call()
    except (RecursionError, ValueError) as error:
        return type(error).__name__


def read(store: StateStore, run_id: str, depth: int) -> str:
    """Read a run's only item; say whether it has so many levels."""
    [row] = store.list_intel_items_for_run(run_id)
    KEPT.append(row)
    return "equal" if levels(row["claims_json"]) == depth else "different"


def write_and_read(stack: int, kind: str, depths: list[int]) -> list[str]:
    """Write and read values in a thread with `stack` bytes; say of each depth how it went."""
    outcomes: list[str] = []

    def work() -> None:
        with StateStore(":memory:") as store:
            for depth in depths:
                run_id = f"run-{depth}"
                store.start_run(run_id, "daily", {})
                KEPT.append(nested(depth, kind))
                refused = outcome(partial(write, store, run_id))
                outcomes.append(refused or read(store, run_id, depth))

    on_stack(stack, work)
    return outcomes


def write(store: StateStore, run_id: str) -> str:
    """Write the value that was kept last by all the calls that take one."""
    store.upsert_intel_item({**item(run_id), "run_id": run_id, "claims_json": KEPT[-1]})
    store.write_telemetry(run_id, KEPT[-1])
    store.start_run(f"{run_id} again", "daily", KEPT[-1])
    return ""


def write_cycles(stack: int) -> dict[str, str]:
    """Write circular values in a thread with `stack` bytes; say of each kind how it went."""
    outcomes: dict[str, str] = {}

    def work() -> None:
        with StateStore(":memory:") as store:
            store.start_run("run-1", "daily", {})
            for kind in CYCLES:
                KEPT.append(circular(kind))
                outcomes[kind] = outcome(partial(write, store, "run-1"))

    on_stack(stack, work)
    return outcomes


def read_texts(path: str, stack: int, kind: str, depths: list[int]) -> list[str]:
    """Read texts that another program wrote in a thread with `stack` bytes; say of each depth how it went."""
    before, after = {"list": ("[", "]"), "dict": ('{"k":', "}")}[kind]
    StateStore(path).close()
    plain.record(path, [before * depth + "1" + after * depth for depth in depths])
    outcomes: list[str] = []

    def work() -> None:
        with StateStore(path) as store:
            outcomes.extend(outcome(partial(read, store, str(number), depth)) for number, depth in enumerate(depths))

    on_stack(stack, work)
    return outcomes
