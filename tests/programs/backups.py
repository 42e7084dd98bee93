"""Programs whose backup meets something: a kill, a full disk, a fork."""

import os
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError

from tests.programs import hear, say
from tests.programs.disks import limit_files
from tests.programs.exits import item


def files_beside(dest: str) -> list[str]:
    """Return the names of the files where backups go."""
    return sorted(entry.name for entry in Path(dest).parent.iterdir())


def stop_in_the_middle(path: str, dest: str) -> None:
    """Begin a backup, say so, and wait in the middle of it."""

    def wait(_copied: int, _total: int) -> None:
        say()
        hear()

    with StateStore(path) as store:
        store.backup(dest, progress=wait)


def onto_a_full_disk(path: str, dest: str, limit: int) -> dict[str, Any]:
    """Back up where no file may grow beyond `limit` bytes; say how that went, and whether the store still works."""
    with StateStore(path) as store:
        limit_files(limit)
        try:
            store.backup(dest)
        except StateStoreError as error:
            failed = type(error).__name__
        else:
            failed = "nothing"
        limit_files(-1)
        store.upsert_intel_item(item("after"))
        return {"failed": failed, "files": files_beside(dest)}


def fork_in_the_middle(path: str, dest: str) -> dict[str, Any]:
    """Fork while a backup is under way; the child writes, and its own call of backup ends."""
    children: list[int] = []

    def fork(_copied: int, _total: int) -> None:
        if not children:
            children.append(os.fork())
            if children == [0]:
                store.upsert_intel_item(item("child"))

    store = StateStore(path)
    try:
        store.backup(dest, progress=fork)
    except StateStoreError as error:
        say(f"child: {type(error).__name__}")
        os._exit(0)
    _, status = os.waitpid(children[0], 0)
    store.upsert_intel_item(item("parent"))
    store.close()
    return {"child": status, "files": files_beside(dest)}
