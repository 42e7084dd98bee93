"""Programs that close descriptors which are not theirs."""

import os
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs.exits import item

PRECIOUS = b"precious" * 10_000


def of(path: Path) -> list[int]:
    """Return the descriptors that are open on a file."""
    there = [name for name in Path("/proc/self/fd").iterdir() if name.exists()]
    return [int(name.name) for name in there if name.resolve() == path]


def closed(path: str, which: str, reused: bool) -> dict[str, Any]:
    """Write to a store once its descriptors are closed, and others opened in their place; close it and read it again.

    Say what was raised, and what is wrong.
    """
    file = Path(path).resolve()
    store = StateStore(file)
    store.upsert_intel_item(item("before"))
    store.list_intel_items()
    if which == "all":
        os.closerange(3, 256)
    else:
        for descriptor in of(file.with_name(file.name + which)):
            os.close(descriptor)
    victims = [file.with_name(f"victim-{number}") for number in range(12 if reused else 0)]
    opened = [victim.open("w+b", buffering=0) for victim in victims]
    for victim in opened:
        victim.write(PRECIOUS)
    told, acknowledged = "", ["before"]
    try:
        for number in range(20):
            store.upsert_intel_item(item(f"{number}"))
            acknowledged.append(f"{number}")
    except StateStoreError as error:
        told = f"{type(error).__name__}: {error}"
    try:
        store.list_intel_items()
    except StateStoreError as error:
        told += f" {type(error).__name__}: {error}"
    try:
        store.close()
    except StateStoreError as error:
        told += f" {type(error).__name__}: {error}"
    with StateStore(file) as again:
        there = [found["item_id"] for found in again.list_intel_items()]
        damage = [finding.message for finding in again.check()]
    return {
        "told": told,
        "lost": sorted(set(acknowledged) - set(there)),
        "damage": damage,
        "overwritten": [victim.name for victim in victims if victim.read_bytes() != PRECIOUS],
    }
