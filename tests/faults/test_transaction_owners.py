"""Whose transaction is it? Threads, Contexts, stores, forks and closes, against a model in plain Python."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.helpers import Peer
from tests.programs import players

PARTS = 10
FULL_RUNS = 2_000
STEPS = 25

players_ = st.integers(0, players.PLAYERS - 1)
stores_ = st.integers(0, players.STORES - 1)
names_ = st.sampled_from(["a", "b", "c", "d"])
titles_ = st.sampled_from(["1", "2", "3"])
State = dict[str, str]


def on_one_thread(one: int, other: int) -> bool:
    return one % players.THREADS == other % players.THREADS


class Machine(RuleBasedStateMachine):
    """Makes the same calls on stores and on the model."""

    host: ClassVar[Peer]
    folder: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        """Begin with an empty file."""
        self.committed: State = {}
        self.owner: tuple[int, int] | None = None
        """The player and the store that a transaction is open on."""
        self.levels: list[State] = []
        """What the transaction's owner sees, by level."""
        self.here = Path(tempfile.mkdtemp(dir=self.folder))
        self.tell(str(self.here / "state.db"))

    def teardown(self) -> None:
        """End with nothing left open."""
        assert self.tell("") == ["state.db"]

    def tell(self, what: Any) -> Any:
        """Have the host do something; return what came of it."""
        self.host.tell(json.dumps(what))
        return json.loads(self.host.hear())

    def sees(self, player: int, store: int) -> list[list[str]]:
        """Return what a player ought to read from a store."""
        state = self.levels[-1] if self.owner == (player, store) else self.committed
        return sorted([name, title] for name, title in state.items())

    def is_shut_out(self, player: int, store: int) -> bool:
        """Whether another transaction keeps the player from writing to the store."""
        return self.owner not in (None, (player, store))

    @rule(
        player=players_,
        store=stores_,
        names=st.lists(names_, min_size=1, max_size=3),
        title=titles_,
        good=st.booleans(),
    )
    def write(self, player: int, store: int, names: list[str], title: str, good: bool) -> None:
        """Write all of it; or nothing, which undoes this call alone."""
        told = self.tell([player, "write", store, names if good else [*names, ""], title])
        if self.is_shut_out(player, store):
            assert told == "StoreBusyError"
        elif not good:
            assert told == "RunNotFoundError"
        else:
            assert told is None
            (self.levels[-1] if self.owner else self.committed).update(dict.fromkeys(names, title))

    @rule(player=players_, store=stores_)
    def enter(self, player: int, store: int) -> None:
        """One owner at a time; its blocks nest."""
        told = self.tell([player, "enter", store])
        if self.is_shut_out(player, store):
            assert told == "StoreBusyError"
            return
        assert told is None
        self.levels.append(dict(self.levels[-1] if self.owner else self.committed))
        self.owner = (player, store)

    @rule(fails=st.booleans(), elsewhere=st.booleans())
    def leave(self, fails: bool, elsewhere: bool) -> None:
        """Keep what goes to the level above, or let it be gone; another Context of the thread may do it."""
        if self.owner is None:
            return
        player, store = self.owner
        others = [other for other in range(players.PLAYERS) if other != player and on_one_thread(other, player)]
        by = others[0] if elsewhere and others else player
        assert self.tell([by, "leave", player, store, fails]) == ("Fail" if fails else None)
        state = self.levels.pop()
        if not self.levels:
            self.owner = None
        if fails:
            return
        if self.levels:
            self.levels[-1] = state
        else:
            self.committed = state

    @rule(player=players_, store=stores_, name=names_, title=titles_)
    def fork(self, player: int, store: int, name: str, title: str) -> None:
        """Fork: a child has the store without its parent's transaction, or a typed error inside that."""
        status, *told = self.tell([player, "fork", store, name, title])
        assert status == 0
        if self.owner and self.owner[1] == store and on_one_thread(self.owner[0], player):
            assert told == ["TransactionError"] * 3
            return
        before = sorted([each, self.committed[each]] for each in self.committed)
        if self.owner:
            assert told == [before, "StoreBusyError", before]
            return
        self.committed[name] = title
        assert told == [before, None, sorted([each, self.committed[each]] for each in self.committed)]

    @rule(player=players_, other=players_)
    def inherit(self, player: int, other: int) -> None:
        """Go on in a copy of another one's Context, which inherits nothing of its transaction."""
        if self.owner is None or self.owner[0] != player:
            assert self.tell([player, "inherit", player, other]) is None

    @rule(player=players_, store=stores_)
    def reopen(self, player: int, store: int) -> None:
        """Close a store, which rolls back what is open on it, and open it again."""
        assert self.tell([player, "reopen", store]) is None
        if self.owner and self.owner[1] == store:
            self.owner = None
            self.levels.clear()

    @invariant()
    def everybody_sees_what_they_ought_to(self) -> None:
        """Its owner sees a transaction, and nobody else."""
        for player in range(players.PLAYERS):
            for store in range(players.STORES):
                assert self.tell([player, "read", store]) == self.sees(player, store)


@pytest.fixture
def host() -> Iterator[Peer]:
    """Run the players."""
    with Peer(players.host) as peer:
        yield peer


@pytest.mark.parametrize("part", range(PARTS))
def test_every_owner_sees_its_own_and_nobody_elses(
    tmp_path: Path, host: Peer, part: int, rounds: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    """Whatever threads, Contexts, stores, forks and closes do, in whatever order."""
    assert part < PARTS
    runs = rounds(3, FULL_RUNS // PARTS)
    machine = type("Playing", (Machine,), {"host": host, "folder": tmp_path})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=runs, stateful_step_count=STEPS, derandomize=False)
    )
    figure(f"{runs} runs")
