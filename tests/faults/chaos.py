"""Chaos: some processes do to one file what stores can do, and are killed, stopped, forked and signalled meanwhile.

The disk fills up, the clock is set, and other copies of SQLite open and close the file. `make chaos` runs it for ten
minutes; `python -m tests.faults.chaos --minutes M --seed N` chooses. The same seed makes the same choices, as far as
the system schedules the processes alike.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.state_store import StateStore

from tests.faults.conftest import compiled_preload
from tests.helpers import ROOT, TIMEOUT, in_process
from tests.programs import chaos, plain
from tests.programs.chaos import BUSY_TIMEOUT, GONE, PATIENT

SEATS = 3
DISK = 128 * 2**20
TOLERANCE = 1.0
"""By how many seconds a call may exceed its busy_timeout: the machine has other work, too."""
STEPS = (-1, -30, -3600, 3600, 12 * 365 * 86400)
"""How far the clock is set."""
EXPECTED = {"done", "KeyboardInterrupt", "StoreBusyError", "DiskFullError", "StorageIOError", "CannotOpenError"}
EXPECTED |= {"CommitOutcomeUnknownError", "TransactionDoomedError", "RunFinishedError", "RunNotFoundError"}
BY_AGE = {("prune", "ClockError"), ("recover", "ClockError")}
"""What goes by age is refused once the clock has jumped."""
UNKNOWN = {"KeyboardInterrupt", "CommitOutcomeUnknownError"}
"""What a write ends with that may be there nevertheless."""


class Life:
    """A process, what it has said, and when it was stopped."""

    def __init__(self, path: Path, seat: int, number: int, seed: int) -> None:
        arguments = json.dumps([os.fspath(path), seat, number, seed])
        self.seat = seat
        self.lines: list[str] = []
        self.stops: list[tuple[float, float]] = []
        self.stopped: float | None = None
        self.ready = False
        self.killed = False
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.programs", chaos.__name__, "live", arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.errors = ""
        self.readers = [threading.Thread(target=read) for read in (self.listen, self.listen_to_errors)]
        for reader in self.readers:
            reader.start()

    def listen(self) -> None:
        """Note what it says, and what its children say."""
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))
                self.ready = True

    def listen_to_errors(self) -> None:
        """Note what it complains of."""
        assert self.process.stderr
        with self.process.stderr as errors:
            self.errors = errors.read()

    def send(self, number: int, with_children: bool = False) -> None:
        """Send it a signal, unless all of it has ended: its number may be another program's by now."""
        if any(reader.is_alive() for reader in self.readers):
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if with_children else os.kill)(self.process.pid, number)

    def stop(self) -> None:
        """Stop it, and its children."""
        self.stopped = time.monotonic()
        self.send(signal.SIGSTOP, with_children=True)

    def resume(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT, with_children=True)
        if self.stopped is not None:
            self.stops.append((self.stopped, time.monotonic()))
        self.stopped = None

    def kill(self, with_children: bool) -> None:
        """Kill it; the children that are left go on."""
        self.killed = True
        self.send(signal.SIGKILL, with_children)
        self.process.wait()
        self.resume()

    def end(self) -> None:
        """Tell it to end."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def took(self, began: float, ended: float) -> float:
        """Return how long something took, without the time in which it was stopped."""
        return ended - began - sum(max(0, min(ended, end) - max(began, start)) for start, end in self.stops)


class Conductor:
    """Starts the processes, and makes the chaos."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.disk = folder / "disk"
        self.disk.mkdir(exist_ok=True)
        self.path = self.disk / "state.db"
        self.switch = folder / "fault"
        self.made: collections.Counter[str] = collections.Counter()
        self.lives: list[Life] = []
        self.seats: dict[int, Life] = {}
        self.later: list[tuple[float, Callable[[], None]]] = []

    def play(self, seconds: float) -> None:
        """Make chaos for so long, and end everything."""
        in_process(chaos.begin, os.fspath(self.path))
        acts = (self.kill, self.stop, self.interrupt, self.pester, self.fill, self.set_clock, self.end)
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            for seat in range(SEATS):
                if seat not in self.seats or self.seats[seat].process.poll() is not None:
                    self.begin(seat)
            self.undo(time.monotonic())
            life = self.seats[self.random.randrange(SEATS)]
            act = self.random.choices(acts, (4, 4, 3, 3, 1, 2, 1))[0]
            if life.ready:
                act(life)
            time.sleep(self.random.uniform(0.05, 0.6))
        self.undo(float("inf"))
        for life in self.lives:
            life.end()
        for life in self.lives:
            self.see_end(life)

    def begin(self, seat: int) -> None:
        """Start a process, without the backups that its predecessor may have left half done: they fill the disk."""
        for left in self.disk.glob(f"{self.path.name}.{seat}-*"):
            left.unlink()
        self.seats[seat] = Life(self.path, seat, len(self.lives), self.seed)
        self.lives.append(self.seats[seat])

    def undo(self, now: float) -> None:
        """Undo what has lasted long enough."""
        due = [undo for when, undo in self.later if when <= now]
        self.later = [(when, undo) for when, undo in self.later if when > now]
        for undo in due:
            undo()

    def after(self, seconds: float, undo: Callable[[], None]) -> None:
        """Undo something later."""
        self.later.append((time.monotonic() + seconds, undo))

    def see_end(self, life: Life) -> None:
        """Wait for the end of a process and of its children; one that does not end says where it is."""
        for reader in life.readers:
            reader.join(TIMEOUT)
        if any(reader.is_alive() for reader in life.readers):
            life.lines.append("bad\ta process or a child of it has not ended")
            life.send(signal.SIGABRT, with_children=True)
        life.process.wait()
        for reader in life.readers:
            reader.join()

    def kill(self, life: Life) -> None:
        """Kill a process, and its children or not."""
        self.made["kills"] += 1
        life.kill(self.random.random() < 0.5)

    def stop(self, life: Life) -> None:
        """Stop a process; now and then for longer than the others wait. One at a time: the others have to go on."""
        if any(each.stopped for each in self.seats.values()):
            return
        long = self.random.random() < 0.3
        self.made["long stops" if long else "stops"] += 1
        life.stop()
        self.after(BUSY_TIMEOUT * 1.5 if long else self.random.uniform(0.05, 1), life.resume)

    def interrupt(self, life: Life) -> None:
        """Send Ctrl-C, some times."""
        for _ in range(self.random.randrange(1, 6)):
            self.made["SIGINT"] += 1
            life.send(signal.SIGINT)
            time.sleep(0.02)

    def pester(self, life: Life) -> None:
        """Send a signal that does nothing, many times."""
        for _ in range(100):
            self.made["SIGUSR1"] += 1
            life.send(signal.SIGUSR1)
            time.sleep(0.001)

    def fill(self, _: Life) -> None:
        """Fill the disk for some seconds."""
        filler = self.disk / "filler"
        if filler.exists() or self.switch.read_text() == "full":
            return
        self.made["full disks"] += 1
        if not self.disk.is_mount():
            self.set_fault("full")
            self.after(2, lambda: self.set_fault(""))
            return
        with filler.open("wb") as file:
            size, step = 0, DISK
            while step >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2
        self.after(2, filler.unlink)

    def set_clock(self, _: Life) -> None:
        """Set the clock, and back some seconds later."""
        if self.switch.read_text():
            return
        self.made["clock steps"] += 1
        self.set_fault(f"time {self.random.choice(STEPS)}")
        self.after(self.random.uniform(0.5, 5), lambda: self.set_fault(""))

    def end(self, life: Life) -> None:
        """Have a process close its store, and end."""
        self.made["closes"] += 1
        life.end()

    def set_fault(self, name: str) -> None:
        """Have `preload.c` make a fault, or none."""
        new = self.switch.with_suffix(".new")
        new.write_text(name)
        new.replace(self.switch)


@dataclasses.dataclass
class Verdict:
    """What the processes were told, and what is wrong."""

    calls: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    acknowledged: int = 0
    longest: dict[str, float] = dataclasses.field(default_factory=dict)
    allowed: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    wrong: list[str] = dataclasses.field(default_factory=list)

    def read(self, life: Life) -> None:
        """Go through what a process has said. Those of one seat come in their order."""
        if life.process.returncode and not life.killed:
            self.wrong.append(f"a process ended by itself: {life.process.returncode}, {life.errors[-3000:]}")
        before: dict[str, tuple[str, set[str]]] = {}
        for line in life.lines:
            outcome, _, rest = line.partition("\t")
            if outcome == "bad":
                self.wrong.append(rest)
            elif outcome == "try":
                key, state = rest.split("\t")
                allowed = self.allowed.setdefault(key, {GONE})
                before[key] = (state, set(allowed))
                allowed.add(state)
            elif "\t" in rest:
                call, key, began, ended, message = rest.split("\t")
                self.calls[call] += 1
                self.outcomes[outcome] += 1
                if outcome not in EXPECTED and (call, outcome) not in BY_AGE:
                    self.wrong.append(f"{call} {key}: {outcome}: {message}")
                self.time(call, life.took(float(began), float(ended)))
                if not key:
                    continue
                state, others = before[key]
                if outcome == "done":
                    self.acknowledged += 1
                    self.allowed[key] = {state}
                elif outcome not in UNKNOWN and not key.startswith("j:"):
                    self.allowed[key] = others

    def time(self, call: str, took: float) -> None:
        """Note how long a call took."""
        self.longest[call] = max(took, self.longest.get(call, 0))
        if call not in PATIENT and took > BUSY_TIMEOUT + TOLERANCE:
            self.wrong.append(f"{call} took {took:.1f} s")

    def compare(self, path: Path) -> None:
        """Compare with what is in the file."""
        for row in in_process(plain.run, os.fspath(path), [("PRAGMA integrity_check", [])]):
            if row != ["ok"]:
                self.wrong.append(f"integrity_check: {row}")
        with StateStore(path) as store:
            self.wrong += [f"check: {each}" for each in store.check() if each.kind != "stale_run"]
            found = chaos.states(store)
        for key, allowed in self.allowed.items():
            state = found.pop(key, GONE)
            # Others prune runs that are over.
            pruned = key.startswith("j:") and state == GONE
            halfway = key.startswith("j:") and len(allowed) > 1
            if not (pruned or halfway or state in allowed):
                self.wrong.append(f"{'torn' if 'torn' in state else 'lost'}: {key} is {state}, and not of {allowed}")
        self.wrong += [f"nobody wrote {key}: {state}" for key, state in found.items()]

    def __str__(self) -> str:
        quick = max((took for call, took in self.longest.items() if call not in PATIENT), default=0)
        patient = {call: took for call, took in self.longest.items() if call in PATIENT}
        slowest = max(patient, key=lambda call: patient[call], default="none")
        errors = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()) if name != "done")
        return (
            f"{self.calls['fork']} forks, {self.calls['second copy']} second copies; {self.calls.total()} calls, "
            f"{self.acknowledged} writes acknowledged, {len(self.wrong)} wrong; the longest call took {quick:.1f} s, "
            f"the longest {slowest} {patient.get(slowest, 0):.1f} s; {errors or 'no errors'}"
        )


@contextlib.contextmanager
def environment(folder: Path, preload: Path) -> Iterator[bool]:
    """Have the processes meet the faults of `preload.c`, and a small disk if it can be mounted; say whether it was."""
    disk = folder / "disk"
    disk.mkdir()
    (folder / "fault").write_text("")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", os.fspath(disk)]
    mounted = subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    before = dict(os.environ)
    os.environ |= {"FAULT_SWITCH": os.fspath(folder / "fault"), "LD_PRELOAD": os.fspath(preload)}
    try:
        yield mounted
    finally:
        os.environ.clear()
        os.environ |= before
        if mounted:
            # Lazily: where this fails, a process may still be ending.
            subprocess.run(["umount", "--lazy", os.fspath(disk)], check=True)


def run(folder: Path, preload: Path, seconds: float, seed: int) -> tuple[str, list[str]]:
    """Make chaos; return the figures, and what was wrong."""
    verdict = Verdict()
    with environment(folder, preload) as mounted:
        conductor = Conductor(folder, seed)
        try:
            conductor.play(seconds)
        finally:
            for life in conductor.lives:
                life.send(signal.SIGKILL, with_children=True)
        for life in conductor.lives:
            verdict.read(life)
        verdict.compare(conductor.path)
        if verdict.wrong and mounted:
            subprocess.run(["cp", "-a", os.fspath(conductor.disk), os.fspath(folder / "copy")], check=True)
    made = ", ".join(f"{count} {what}" for what, count in sorted(conductor.made.items()))
    figures = f"seed {seed}, {seconds:.0f} s: {len(conductor.lives)} processes, {made}; {verdict}"
    return figures if mounted else f"{figures}; no right to mount: the disk was not really full", verdict.wrong


def main() -> None:
    """Make chaos as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {told.seed}, in {folder}", flush=True)
    figures, wrong = run(folder, compiled_preload(folder), told.minutes * 60, told.seed)
    print(figures)
    if wrong:
        (folder / "wrong").write_text("\n".join(wrong))
        where = f"{len(wrong)} wrong, of seed {told.seed}: all of them, and a copy of the file, are in {folder}"
        sys.exit("\n".join([*wrong[:20], where]))


if __name__ == "__main__":
    main()
