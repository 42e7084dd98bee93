"""Opens what is no regular file."""

from __future__ import annotations

from orchestrator.state_store import StateStore, StateStoreError


def open_at(path: str, read_only: bool) -> str:
    """Return what opening a store there raised."""
    try:
        StateStore(path, read_only=read_only, busy_timeout=0.5).close()
    except StateStoreError as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


def back_up_to(path: str, dest: str) -> str:
    """Return what a backup to there raised."""
    with StateStore(path) as store:
        try:
            store.backup(dest, overwrite=True)
        except StateStoreError as error:
            return f"{type(error).__name__}: {error}"
    return "copied"
