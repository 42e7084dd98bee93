"""Says how far long work is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.state_store._cli.errors import say
from orchestrator.state_store._view.times import duration

BAR_AFTER = 0.5
"""Seconds after which a bar is drawn: what is quick needs none."""

LINE_EVERY = 5.0
"""Seconds between two lines."""


@contextmanager
def progress(work: str, unit: str = "") -> Iterator[Callable[..., None]]:
    """Say how far some work is, on stderr; the function is called with how much is done, and of how much."""
    state = _State(work, unit)
    shows = _bar if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=shows, args=[state], name="progress", daemon=True)
    thread.start()
    try:
        yield state.tell
    finally:
        state.end.set()
        thread.join()


class _State:
    def __init__(self, work: str, unit: str) -> None:
        self.work, self.unit = work, unit
        self.end = threading.Event()
        self.amount = (0, 0)

    def tell(self, done: int, total: int, work: str = "") -> None:
        self.amount, self.work = (done, total), work or self.work

    def __str__(self) -> str:
        done, total = self.amount
        if not done:
            return ""
        return f"{done:,}{f' of {total:,}' if total else ''} {self.unit}{f', {done / total:.0%}' if total else ''}"


def _bar(state: _State) -> None:
    if state.end.wait(BAR_AFTER):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(state.work, total=None, text="")
        while not state.end.wait(0.1):
            done, total = state.amount
            bar.update(task, description=state.work, completed=done, total=total or None, text=str(state))


def _lines(state: _State) -> None:
    start = time.monotonic()
    while not state.end.wait(LINE_EVERY):
        say(": ".join(filter(None, (state.work, str(state)))) + f", {duration(time.monotonic() - start)} so far")
