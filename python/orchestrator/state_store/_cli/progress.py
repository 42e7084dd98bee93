"""Says how far long work is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.state_store._cli.errors import say
from orchestrator.state_store._view.times import duration

EVERY = 5.0
"""Seconds between two lines."""


@contextmanager
def progress(work: str, unit: str = "") -> Iterator[Callable[[int, int], None]]:
    """Say how far some work is, on stderr; the function is called with how much is done, and of how much."""
    shows = _on_terminal if sys.stderr.isatty() else _by_lines
    with shows(work, unit) as tell:
        yield tell


@contextmanager
def _on_terminal(work: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    amount = TextColumn("{task.fields[amount]}")
    columns = (TextColumn("{task.description}"), BarColumn(20), amount, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(work, total=None, amount="")

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, amount=_amount(done, total, unit))

        yield tell


@contextmanager
def _by_lines(work: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    state = [""]
    start, end = time.monotonic(), threading.Event()

    def lines() -> None:
        while not end.wait(EVERY):
            say(f"{work}: {state[0]}{duration(time.monotonic() - start)} so far")

    def tell(done: int, total: int) -> None:
        state[0] = f"{_amount(done, total, unit)}, "

    thread = threading.Thread(target=lines, name="progress", daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        end.set()
        thread.join()


def _amount(done: int, total: int, unit: str) -> str:
    of = f" of {total:,}" if total else ""
    part = f", {done / total:.0%}" if total else ""
    return f"{done:,}{of} {unit}{part}"
