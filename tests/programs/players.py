"""Threads, and Contexts that share them, use the stores on one file as they are told, one call at a time."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.state_store import StateStore, StateStoreError, Transaction

from tests.programs import hear, say
from tests.programs.exits import item

BUSY_TIMEOUT = 0.003
STORES = 2
PLAYERS = 5
THREADS = 3
"""Players whose numbers differ by as many share a thread."""


class Fail(Exception):
    """What a block that fails raises."""


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the name of what it raises."""
    try:
        return call()
    except (StateStoreError, Fail) as error:
        return type(error).__name__


class Player:
    """A thread, a Context, and the transactions that are open in it, outermost first, by store."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.thread = thread
        self.context = Context()
        self.blocks: list[list[Transaction]] = [[] for _ in range(STORES)]


class Game:
    """The stores on one file, and who uses them."""

    def __init__(self, path: str) -> None:
        self.path = path
        threads = [ThreadPoolExecutor(1) for _ in range(THREADS)]
        self.players = [Player(threads[number % THREADS]) for number in range(PLAYERS)]
        self.stores = [self.open() for _ in range(STORES)]
        self.stores[0].start_run("run-1", "daily", {})

    def open(self) -> StateStore:
        """Open the file once more."""
        return StateStore(self.path, synchronous="NORMAL", busy_timeout=BUSY_TIMEOUT)

    def read(self, store: int) -> list[list[str]]:
        """Return the names and titles of all items."""
        found = self.stores[store].list_intel_items_for_run("run-1")
        return sorted([each["item_id"], each["title"]] for each in found)

    def write(self, store: int, names: list[str], title: str) -> None:
        """Write items in one call; a name of '' makes the call fail after those before it."""
        items = [{**item(name), "title": title, **({} if name else {"run_id": "unknown"})} for name in names]
        if len(items) == 1:
            self.stores[store].upsert_intel_item(items[0])
        else:
            self.stores[store].upsert_intel_items_batch(items)

    def enter(self, player: Player, store: int) -> None:
        """Enter a transaction."""
        block = self.stores[store].transaction()
        block.__enter__()
        player.blocks[store].append(block)

    def leave(self, player: Player, store: int, fails: bool) -> None:
        """Leave the innermost transaction."""
        block = player.blocks[store].pop()
        if fails:
            block.__exit__(Fail, Fail(), None)
            raise Fail
        block.__exit__(None, None, None)

    def fork(self, store: int, name: str, title: str) -> list[Any]:
        """Have a child read, write and read again; return what came of each."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            calls = (lambda: self.read(store), lambda: self.write(store, [name], title), lambda: self.read(store))
            os.write(writer, json.dumps([outcome(call) for call in calls]).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as report:
            told: list[Any] = json.load(report)
        _, status = os.waitpid(pid, 0)
        return [status, *told]

    def reopen(self, store: int) -> None:
        """Close a store, leave what was open on it, and open the file again."""
        self.stores[store].close()
        for player in self.players:
            while player.blocks[store]:
                left = self.run(player, partial(self.leave, player, store, False))
                assert left == "StoreClosedError", left
        closed = outcome(lambda: self.read(store))
        assert closed == "StoreClosedError", closed
        self.stores[store] = self.open()

    def do(self, number: int, name: str, *arguments: Any) -> Any:
        """Have a player make a call; return what it returns, or the name of what it raises."""
        player = self.players[number]
        method = getattr(self, name)
        if name == "enter":
            arguments = (player, *arguments)
        elif name == "leave":
            arguments = (self.players[arguments[0]], *arguments[1:])
        elif name in ("reopen", "inherit"):
            return method(*arguments)
        return self.run(player, lambda: method(*arguments))

    def run(self, player: Player, call: Callable[[], Any]) -> Any:
        """Make a call as a player; return what it returns, or the name of what it raises."""
        return player.thread.submit(player.context.run, outcome, call).result()

    def inherit(self, number: int, other: int) -> None:
        """Give a player a copy of another one's Context."""
        self.players[number].context = self.players[other].context.copy()

    def end(self) -> list[str]:
        """Close everything; return the files that are left."""
        for store in self.stores:
            store.close()
        for player in self.players:
            player.blocks.clear()
            player.thread.shutdown()
        return sorted(entry.name for entry in Path(self.path).parent.iterdir())


def host() -> None:
    """Play one game after the other: a path begins one, '' ends it, anything else is a call."""
    game: Game | None = None
    while True:
        told = json.loads(hear())
        if isinstance(told, str) and told:
            game = Game(told)
            say("null")
        elif game and not told:
            say(json.dumps(game.end()))
        elif game:
            say(json.dumps(game.do(*told)))
