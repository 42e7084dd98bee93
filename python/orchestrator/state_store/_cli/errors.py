"""What a command says when it fails: one line on stderr, never a traceback, and its exit status."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable

import click
from orchestrator.state_store import (
    IntelItemNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    QueryError,
    RunNotFoundError,
    StateStoreError,
    UnsupportedError,
    unreadable,
)
from orchestrator.state_store._cli import EXTRA, MISSING
from orchestrator.state_store._cli.passwords import without_passwords
from orchestrator.state_store._view.text import cut, visible
from orchestrator.state_store.excerpts import one_line

FAILED, USAGE, NOT_FOUND, INTERRUPTED = 1, 2, 3, 130

PROG = "orchestrator-state"


class Failure(click.ClickException):
    """What went wrong, in one line, and the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def say(message: str, most: int = 1000) -> None:
    """Say something in one line on stderr; where nobody listens, nothing."""
    message = without_passwords(message)
    try:
        print(f"{PROG}: {cut(visible(one_line(message)), most)}", file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        return


def guarded(run: Callable[[], object]) -> int:
    """Run a command; say what went wrong, and return the exit status."""
    warnings.showwarning = lambda message, *_: say(f"warning: {message}")
    # SIGTERM may come when the server's coroutine is made, and does not run yet.
    warnings.filterwarnings("ignore", r"coroutine '.*' was never awaited", RuntimeWarning)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    deep = sys.getrecursionlimit()
    # JSON of the store may be 1,000 levels deep, and this is some frames down already.
    sys.setrecursionlimit(max(deep, 10_000))
    try:
        with unreadable.shown() as found:
            run()
        return _flushed(said(found))
    except click.exceptions.Exit as error:
        return _flushed(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _flushed(INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return 0
    except Exception as error:
        message, status = described(error)
        say(message)
        return _flushed(status)
    finally:
        sys.setrecursionlimit(deep)


def said(found: unreadable.Unreadable) -> int:
    """Say what was printed as text, since it could not be decoded; return the exit status."""
    for message in found.first:
        say(message)
    if found:
        say(f"{found.number} unreadable, printed as text; check finds all there are")
    return FAILED if found else 0


def _open_closed_streams() -> None:
    """Have something where the program was started without: else what is said would be printed among the output.

    In this order each gets its own number, which no file of the store can get then.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123


_REMEDIES = (
    ("pass overwrite=True", "give --overwrite"),
    ("pass trust_clock=True", "give --trust-clock"),
    ("pass next_cursor as it is", "give --cursor as it was printed"),
    ("check() finds", "check finds"),
    ("with salvage()", "with salvage"),
)
"""What messages of the store say to programs, and what helps here."""


def described(error: Exception) -> tuple[str, int]:
    """Return the line that says what went wrong, and the exit status."""
    message, status = _described(error)
    if isinstance(error, StateStoreError):
        for to_programs, here in _REMEDIES:
            message = message.replace(to_programs, here)
    return message, status


def _described(error: Exception) -> tuple[str, int]:
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else PROG
        return f"{error.format_message().rstrip('.')}; see {path} --help", USAGE
    if isinstance(error, Failure):
        return error.message, error.status
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, RunNotFoundError | IntelItemNotFoundError):
        return str(error), NOT_FOUND
    if isinstance(error, UnsupportedError | InvalidValueError | InvalidTypeError | QueryError):
        return str(error), USAGE
    if isinstance(error, StateStoreError):
        return str(error), FAILED
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in EXTRA:
        return MISSING, USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", FAILED
    if isinstance(error, MemoryError):
        return "out of memory", FAILED
    return f"{type(error).__name__}: {error}", FAILED


def _flushed(status: int) -> int:
    """Print what was printed so far, if that is possible; what failed matters more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _drop_output()
        say(f"cannot print: {error.strerror}")
        return status or FAILED
    return status


def _drop_output() -> None:
    """Have the interpreter print nothing more when it ends: it would fail again, and say so."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
