"""Three threads on one store, told what to do in any order: each sees what is committed, and its own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.state_store import StateStore, StoreBusyError

from tests.helpers import TIMEOUT, Boom, item_ids, make_item


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateStore]:
    path: Path = tmp_path_factory.mktemp("owners") / "state.db"
    with StateStore(path, synchronous="NORMAL", busy_timeout=0.02) as store:
        yield store


class Owners:
    """Three threads on one store, told what to do one after the other, and what each of them ought to see."""

    def __init__(self, store: StateStore, run_id: str) -> None:
        self.store, self.run_id = store, run_id
        self.committed: list[str] = []
        self.levels: list[list[str]] = []
        self.owner: int | None = None
        self.open: list[Any] = []

    def act(self, actor: int, action: str, name: str) -> None:
        """Do one thing as an actor; check that it ends, and that it is seen, as it ought to."""
        mine, free = self.owner == actor, self.owner is None
        if action in ("keep", "undo") and not mine:
            return
        if action in ("write", "enter") and not mine and not free:
            with pytest.raises(StoreBusyError):
                self.store.upsert_intel_item(make_item(name, self.run_id))
        elif action == "write":
            self.store.upsert_intel_item(make_item(name, self.run_id))
            written = self.levels[-1] if mine else self.committed
            if name not in self.seen(actor):
                written.append(name)
        elif action == "enter":
            self.open.append(self.store.transaction())
            self.open[-1].__enter__()
            self.owner = actor
            self.levels.append([])
        elif action in ("keep", "undo"):
            error = Boom() if action == "undo" else None
            self.open.pop().__exit__(type(error) if error else None, error, None)
            names = [] if error else self.levels[-1]
            self.levels.pop()
            (self.levels[-1] if self.levels else self.committed).extend(names)
            self.owner = actor if self.levels else None
        assert item_ids(self.store, self.run_id) == self.seen(actor)

    def seen(self, actor: int) -> list[str]:
        """Return the ids that an actor sees."""
        inside = [name for level in self.levels for name in level] if self.owner == actor else []
        return self.committed + inside


steps = st.tuples(
    st.integers(0, 2), st.sampled_from(["write", "enter", "keep", "undo", "read"]), st.sampled_from("xyz")
)
numbers = iter(range(1_000_000))


@settings(max_examples=150)
@given(st.lists(steps, max_size=25))
def test_each_thread_sees_what_is_committed_and_its_own(impatient: StateStore, sequence: list[Any]) -> None:
    run_id = f"run-{next(numbers)}"
    impatient.start_run(run_id, "daily", {})
    owners = Owners(impatient, run_id)
    pools = [ThreadPoolExecutor(1) for _ in range(3)]
    try:
        for actor, action, name in sequence:
            pools[actor].submit(owners.act, actor, action, f"{run_id}-{name}").result(TIMEOUT)
        while owners.owner is not None:
            pools[owners.owner].submit(owners.act, owners.owner, "undo", "").result(TIMEOUT)
    finally:
        for pool in pools:
            pool.shutdown()
    assert item_ids(impatient, run_id) == owners.committed
