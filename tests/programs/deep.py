"""Deeply nested JSON in threads of any stack size."""

import threading
from typing import Any

from orchestrator.state_store import StateStore


def nested(depth: int, kind: str) -> Any:
    """Return a value of `depth` levels."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"k": value}
    return value


def levels(value: Any) -> int:
    """Count the levels of what `nested` made."""
    depth = 0
    while value != 1:
        value = value[0] if isinstance(value, list) else value["k"]
        depth += 1
    return depth


def write_and_read(stack: int, kind: str, depths: list[int]) -> list[str]:
    """Write and read values in a thread with `stack` bytes; say of each depth how it went."""
    outcomes: list[str] = []
    # Freeing a deep value takes stack in proportion on some versions of Python: not that of the small thread.
    kept: list[Any] = []

    def work() -> None:
        with StateStore(":memory:") as store:
            for depth in depths:
                run_id = f"run-{depth}"
                store.start_run(run_id, "daily", {})
                item = {"item_id": run_id, "run_id": run_id, "item_type": "note", "title": "t", "summary": "s"}
                kept.append(nested(depth, kind))
                try:
                    store.upsert_intel_item({**item, "claims_json": kept[-1]})
                except RecursionError as error:
                    outcomes.append(type(error).__name__)
                    continue
                try:
                    [row] = store.list_intel_items_for_run(run_id)
                    kept.append(row)
                    outcomes.append("equal" if levels(row["claims_json"]) == depth else "different")
                except RecursionError as error:
                    outcomes.append(f"written, but {type(error).__name__}")

    threading.stack_size(stack)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return outcomes
