"""A process of a chaos run: it does to one file what stores can do, and says what each call told it.

Who writes a key is one thread of one process at a time, and each write gives the key another state. So the file must
have the state that was acknowledged last, or one that was tried since and whose outcome nobody was told. A line is

    try KEY STATE                               before a write
    OUTCOME CALL KEY BEGAN ENDED MESSAGE        after a call: `done`, or the name of the error
    bad WHAT                                    where a read or a child found what cannot be

with tabs between its parts.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator import state_store
from orchestrator.state_store import StateStore, StateStoreError, TransactionError

from tests.programs import hear, say

BUSY_TIMEOUT = 3.0
THREADS = 3
RUN = "all"
"""The run of most items. It is finished, so that no recovery takes it; it takes writes nevertheless."""
SLOTS = {"u": 20, "g": 8, "p": 5, "b": 3, "r": 3}
"""How many keys a thread has of each kind: single items, batches, pairs, blocks (a whole run), runs."""
LARGE = 700
"""Items of the last batch: enough for a writer thread beside the one that encodes."""
GONE = "-"
"""The state of what is not there."""
PATIENT = {"prune", "vacuum", "backup", "check", "recover", "run", "fork", "second copy"}
"""Calls that work for longer than they wait, or are several."""


class Undo(Exception):
    """What a block that fails raises."""


def item(name: str, version: str, kind: str = "note", run_id: str = RUN) -> dict[str, Any]:
    """Return an item; its size depends on the version."""
    summary = "s" * (10, 300, 3000)[sum(version.encode()) % 3]
    return {"item_id": name, "run_id": run_id, "item_type": kind, "title": version, "summary": summary}


def parts(key: str) -> int:
    """Return how many items have this key's state, all together."""
    kind, _, slot = key.split(":")
    return {"u": 1, "p": 2, "b": 3, "j": 2}.get(kind) or (LARGE if slot == "7" else 5)


def states(store: StateStore) -> dict[str, str]:
    """Return the state of each key that the file has something of."""
    titles = collections.defaultdict[str, list[str]](list)
    for each in store.iter_intel_items(fields=["item_id", "title"]):
        titles[each["item_id"].partition(".")[0]].append(each["title"])
    undone = titles.pop("never", [])
    found = {"never": f"{len(undone)} items that were undone"} if undone else {}
    for key, versions in titles.items():
        whole = len(versions) == parts(key) and len(set(versions)) == 1
        found[key] = versions[0] if whole else f"torn: {len(versions)} of {sorted(set(versions))}"
    runs = store.list_runs()
    telemetry = store.list_telemetry(run.run_id for run in runs)
    for run in runs:
        # What a recovery makes of it is no write of its own.
        status = run.status.replace("crashed", "running")
        told = telemetry.get(run.run_id, GONE)
        if run.run_id.startswith("r:"):
            found[run.run_id] = f"{status} {run.settings_snapshot_json} {told}"
        elif run.run_id.startswith("j:"):
            found[run.run_id] = f"{status} {found.get(run.run_id)} {told}"
        elif run.run_id.startswith("b:"):
            version = found.get(run.run_id)
            whole = (status, run.settings_snapshot_json, told) == ("completed", version, version)
            found[run.run_id] = version if whole and version else f"torn: {run}, {told}, {version}"
    return found


class Player:
    """A thread that calls the store at random."""

    def __init__(self, store: StateStore, path: str, name: str, seed: str, version: int) -> None:
        self.store = store
        self.path = path
        self.name = name
        self.random = random.Random(seed)
        self.version = version
        self.is_calling = False
        self.is_child = False
        self.stages: dict[str, list[str]] = {}
        """What comes next of a run that was started, and told of; it begins anew where the outcome is unknown."""

    def attempt(self, call: str, work: Callable[[], object], key: str = "", state: str = "") -> bool:
        """Make a call, and say what came of it; return whether it was done."""
        if key:
            say(f"try\t{key}\t{state}")
        outcome, message, began = "done", "", time.monotonic()
        try:
            self.is_calling = True
            work()
            self.is_calling = False
        except StateStoreError as error:
            self.is_calling = False
            outcome, message = type(error).__name__, f"{error}".replace("\t", " ")
        except Exception as error:
            self.is_calling = False
            outcome, message = "untyped", f"{error!r}".replace("\t", " ")
        except KeyboardInterrupt:
            outcome = "KeyboardInterrupt"
        say(f"{outcome}\t{call}\t{key}\t{began}\t{time.monotonic()}\t{message[:500]}")
        return outcome == "done"

    def next(self, kind: str) -> tuple[str, str]:
        """Return a key of this kind, and its next state."""
        self.version += 1
        # Nobody writes the keys of a child again, so that a large one would be there for good.
        slot = self.random.randrange(SLOTS[kind] - self.is_child)
        return f"{kind}:{self.name}:{slot}", f"{self.version}"

    def single(self) -> None:
        """Write an item, and sometimes read it again, or delete it."""
        key, state = self.next("u")
        if self.random.random() < 0.1:
            self.attempt("delete", lambda: self.store.delete_intel_item(key), key, GONE)
            return
        done = self.attempt("upsert", lambda: self.store.upsert_intel_item(item(key, state)), key, state)
        if done and self.random.random() < 0.3:
            self.attempt("get", lambda: self.see(key, state))

    def see(self, key: str, state: str) -> None:
        """Read what was just acknowledged."""
        found = self.store.get_intel_item(key)
        if found is None or found["title"] != state:
            say(f"bad\t{key} was acknowledged as {state}, and read as {found}")

    def batch(self) -> None:
        """Write items together."""
        key, state = self.next("g")
        items = [item(f"{key}.{part}", state, "batch") for part in range(parts(key))]
        self.attempt("batch", lambda: self.store.upsert_intel_items_batch(items), key, state)

    def pair(self) -> None:
        """Write two items in a transaction, one of them in a savepoint, beside one that is undone."""
        key, state = self.next("p")

        def work() -> None:
            with self.store.transaction():
                self.store.upsert_intel_item(item(f"{key}.0", state, "pair"))
                with contextlib.suppress(Undo), self.store.transaction():
                    self.store.upsert_intel_item(item(f"never.{key}:{state}", state))
                    raise Undo
                with self.store.transaction():
                    self.store.upsert_intel_items_batch([item(f"{key}.1", state, "pair")])

        self.attempt("pair", work, key, state)

    def undone(self) -> None:
        """Write in a transaction that is undone."""
        key, state = self.next("p")

        def work() -> None:
            with contextlib.suppress(Undo), self.store.transaction():
                names = [f"never.{key}:{state}.{part}" for part in range(self.random.choice((3, 300)))]
                self.store.upsert_intel_items_batch([item(name, state) for name in names])
                raise Undo

        self.attempt("undone", work)

    def block(self) -> None:
        """Write a whole run in one transaction, in place of the one before."""
        key, state = self.next("b")

        def work() -> None:
            with self.store.transaction():
                self.start(key, "block", state)
                for part in range(parts(key)):
                    self.store.upsert_intel_item(item(f"{key}.{part}", state, "block", key))
                self.store.write_telemetry(key, state)
                self.store.finish_run(key, "completed")

        self.attempt("block", work, key, state)

    def start(self, run_id: str, run_type: str, settings: str) -> None:
        """Start a run, in place of the one before; for a transaction."""
        if self.store.get_run(run_id):
            self.store.delete_run(run_id, force=True)
        self.store.start_run(run_id, run_type, settings)

    def kept_run(self) -> None:
        """Start a run, write its telemetry or finish it."""
        key, state = self.next("r")

        def start() -> None:
            with self.store.transaction():
                self.start(key, "kept", state)

        stage = self.stages.pop(key, [])
        done = False
        if not stage:
            stage = [state, GONE]
            done = self.attempt("start", start, key, f"running {state} {GONE}")
        elif stage[1] == GONE:
            stage[1] = state
            write = self.random.choice((self.store.write_telemetry, self.store.merge_telemetry))
            told: Any = state if write == self.store.write_telemetry else {"v": state}
            stage[1] = f"{told}"
            done = self.attempt("telemetry", lambda: write(key, told), key, f"running {stage[0]} {told}")
        else:
            self.attempt("finish", lambda: self.store.finish_run(key, "completed"), key, f"completed {' '.join(stage)}")
        if done:
            self.stages[key] = stage

    def run(self) -> None:
        """Run a block with heartbeats; a prune may take it later."""
        self.version += 1
        key, state = f"j:{self.name}:{self.version}", f"{self.version}"
        status = self.random.choice(("completed", "partial", "failed"))

        def work() -> None:
            try:
                with self.store.run(key, "junk", {}) as run:
                    for part in range(parts(key)):
                        self.store.upsert_intel_item(item(f"{key}.{part}", state, "junk", key))
                    self.store.merge_telemetry(key, {"v": state})
                    if status == "partial":
                        with self.store.transaction():
                            run.finish(status)
                    if status == "failed":
                        raise Undo
            except Undo as error:
                # A run that could not be finished either is in a note only: the block's own exception propagates.
                for note in getattr(error, "__notes__", []):
                    name = note.partition("could not be finished: ")[2].partition(":")[0]
                    raise getattr(state_store, name)(note) from None

        self.attempt("run", work, key, f"{status} {state} {{'v': '{state}'}}")

    def read(self) -> None:
        """List and count; pairs and batches are seen whole."""
        self.attempt("list", lambda: self.store.list_intel_items(limit=50))
        self.attempt("count", lambda: self.store.count_intel_items(item_type="batch", undecided=True))
        self.attempt("runs", lambda: self.store.list_runs(limit=20, status="running"))
        self.attempt("pairs", self.see_whole)

    def see_whole(self) -> None:
        """Read all pairs at one moment."""
        found = collections.defaultdict[str, list[str]](list)
        for each in self.store.list_intel_items(item_type="pair", fields=["item_id", "title"]):
            found[each["item_id"].partition(".")[0]].append(each["title"])
        for key, titles in found.items():
            if len(titles) != 2 or len(set(titles)) != 1:
                say(f"bad\t{key} was read torn: {titles}")

    def prune(self) -> None:
        """Prune runs that may go."""
        old: dict[str, Any] = self.random.choice(({"keep_last": 5}, {"older_than": timedelta(hours=2)}))
        self.attempt("prune", lambda: self.store.prune(run_type="junk", **old))

    def look_after(self) -> None:
        """Do what is done to a file now and then."""
        calls: dict[str, Callable[[], object]] = {
            "checkpoint": self.store.checkpoint,
            "vacuum": lambda: self.store.vacuum(full=self.random.random() < 0.1),
            "recover": lambda: self.store.recover_stale_runs(10),
            "stats": self.store.stats,
            "open": lambda: StateStore(self.path, busy_timeout=BUSY_TIMEOUT).close(),
            "check": lambda: self.sound(self.store),
            "backup": self.back_up,
        }
        call = self.random.choice(list(calls))
        self.attempt(call, calls[call])

    def sound(self, store: StateStore) -> None:
        """Check a file."""
        for finding in store.check():
            if finding.kind != "stale_run":
                say(f"bad\tcheck: {finding}")

    def back_up(self) -> None:
        """Make a backup, and check it."""
        copy = f"{self.path}.{self.name}.backup"
        try:
            self.store.backup(copy, overwrite=True)
            with StateStore(copy, read_only=True) as store:
                self.sound(store)
        finally:
            Path(copy).unlink(missing_ok=True)

    def second_copy(self) -> None:
        """Open and close the file by other means."""

        def work() -> None:
            with contextlib.suppress(sqlite3.Error, OSError):
                if self.random.random() < 0.5:
                    with contextlib.closing(sqlite3.connect(self.path, timeout=1)) as connection:
                        connection.execute("SELECT count(*) FROM runs").fetchall()
                else:
                    for suffix in ("", "-wal", "-shm"):
                        Path(self.path + suffix).read_bytes()

        self.attempt("second copy", work)

    def fork(self) -> None:
        """Fork, in a transaction or not; the child writes, too, and nobody waits for it."""
        key, state = self.next("p")
        inside = self.random.random() < 0.5

        def work() -> None:
            with self.store.transaction():
                self.store.upsert_intel_item(item(f"{key}.0", state, "pair"))
                if os.fork() == 0:
                    self.be_a_child(inside=True)
                self.store.upsert_intel_item(item(f"{key}.1", state, "pair"))

        if inside:
            self.attempt("fork", work, key, state)
        elif os.fork() == 0:
            self.be_a_child(inside=False)
        else:
            say("done\tfork\t\t0\t0\t")

    def be_a_child(self, inside: bool) -> None:
        """Write some things of its own, and end."""
        try:
            self.name, self.is_child = f"child-{os.getpid()}", True
            self.stages = {}
            if inside:
                try:
                    self.store.upsert_intel_item(item("never.in a child", ""))
                    say("bad\ta child wrote in its parent's transaction")
                except TransactionError:
                    pass
            if not inside or self.attempt("open", self.open_anew):
                for work in (self.single, self.pair, self.batch, self.read):
                    work()
        except BaseException as error:
            say(f"bad\tof a child: {error!r}")
        finally:
            os._exit(0)

    def open_anew(self) -> None:
        """Have a store of its own."""
        self.store = StateStore(self.path, busy_timeout=BUSY_TIMEOUT)

    def interrupt(self, *_: object) -> None:
        """Handle SIGINT as Python does, but only inside of calls: what is around them has to be told."""
        if self.is_calling:
            self.is_calling = False
            raise KeyboardInterrupt

    def step(self, is_main: bool) -> None:
        """Do something."""
        kinds = WORKS if is_main else [(weight, work) for weight, work in WORKS if work != Player.fork]
        weights, works = zip(*kinds, strict=True)
        self.random.choices(works, weights)[0](self)


WORKS: list[tuple[float, Callable[[Player], None]]] = [
    (40, Player.single),
    (10, Player.batch),
    (12, Player.pair),
    (3, Player.undone),
    (6, Player.block),
    (12, Player.kept_run),
    (4, Player.run),
    (6, Player.read),
    (2, Player.prune),
    (4, Player.look_after),
    (3, Player.second_copy),
    (4, Player.fork),
]


def opened(path: str) -> StateStore:
    """Open the store; that may need more than one attempt while the disk is full, or others are stopped."""
    limit = time.monotonic() + 10 * BUSY_TIMEOUT
    while True:
        try:
            return StateStore(path, busy_timeout=BUSY_TIMEOUT)
        except StateStoreError:
            if time.monotonic() > limit:
                raise


def live(path: str, seat: int, life: int, seed: int) -> None:
    """Play until told to end, and close the store then."""
    store = opened(path)
    over = threading.Event()

    def wait() -> None:
        with contextlib.suppress(EOFError):
            hear()
        over.set()

    def play(player: Player, is_main: bool) -> None:
        while not over.is_set():
            try:
                player.step(is_main)
            except KeyboardInterrupt:
                say("KeyboardInterrupt\tin vain\t\t0\t0\t")
            except Exception as error:
                say(f"bad\tthe program itself failed: {error!r}")

    threading.Thread(target=wait, daemon=True).start()
    first = life * 1_000_000
    players = [Player(store, path, f"{seat}-{each}", f"{seed} {life} {each}", first) for each in range(THREADS)]
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGINT, players[0].interrupt)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    threads = [threading.Thread(target=play, args=(player, False)) for player in players[1:]]
    for thread in threads:
        thread.start()
    say("ready\t")
    play(players[0], True)
    for number in (signal.SIGINT, signal.SIGUSR1):
        # Python's own handlers go before the process does.
        signal.signal(number, signal.SIG_IGN)
    for thread in threads:
        thread.join()
    players[0].attempt("close", store.close)


def begin(path: str) -> None:
    """Make the file, with the run that all use."""
    with StateStore(path) as store:
        store.start_run(RUN, "all", {})
        store.finish_run(RUN, "completed")
