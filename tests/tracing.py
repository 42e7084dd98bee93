"""The system calls of a program of `tests.programs`, as strace sees them.

What such a program says goes nowhere, and is a mark in strace's log of where the program was.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, TIMEOUT

NULL = Path(os.devnull)
CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)(?:<(?P<opened>[^>]*)>)?")
FILE = re.compile(r"\d+<([^>]*)>")
TEXT = re.compile(r'"([^"]*)"')
NUMBER = re.compile(r", (\d+)")


@dataclass(frozen=True)
class Call:
    """A system call that has ended. `path` is the file that it is about; `begin` and `end` are lines of the log."""

    thread: int
    name: str
    path: Path
    data: bytes
    numbers: tuple[int, ...]
    flags: frozenset[str]
    failed: bool
    begin: int
    end: int

    @property
    def mark(self) -> str:
        """What the program said by this call; nothing if it is no mark."""
        return self.data.decode().strip() if self.path == NULL and self.name == "write" else ""


def trace(
    function: Callable[..., object],
    *arguments: Any,
    log: Path,
    calls: str,
    bytes_shown: int = 100,
) -> Iterator[Call]:
    """Run a program under strace; return the system calls that it made, in the order in which they ended.

    Parameters
    ----------
    log
        Where strace writes.
    calls
        The names of the system calls, as strace takes them.
    bytes_shown
        How much of what is written is told.
    """
    shown = ("-y", "-xx", "-s", f"{bytes_shown}", "-e", f"trace={calls}", "-o", str(log))
    command = under_strace(function, *arguments, options=shown)
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)
    return parse(log)


def under_strace(function: Callable[..., object], *arguments: Any, options: tuple[str, ...]) -> list[str]:
    """Return the command that runs a program under strace with these options."""
    tracer = ["strace", "-f", "--seccomp-bpf", "-e", "signal=none", *options]
    program = [sys.executable, "-m", "tests.programs", function.__module__, function.__name__]
    return [*tracer, *program, json.dumps(arguments, default=os.fspath)]


def parse(log: Path) -> Iterator[Call]:
    """Go through what strace has written. A call that others have come between is told at its end."""
    begun: dict[int, tuple[int, str]] = {}
    with log.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines):
            thread, _, text = line.strip().partition(" ")
            text, begin = text.strip(), number
            if text.endswith("<unfinished ...>"):
                begun[int(thread)] = number, text.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
                begin, start = begun.pop(int(thread))
                text = start + text[resumed.end() :]
            if found := CALL.match(text):
                yield as_call(int(thread), found, begin, number)


def as_call(thread: int, found: re.Match[str], begin: int, end: int) -> Call:
    """Read one line. With -xx all text in it is in hexadecimal, so that nothing in it needs quoting."""
    arguments = found["arguments"]
    file, text = FILE.match(arguments), TEXT.search(arguments)
    data = unescaped(text[1]) if text else b""
    path = unescaped(found["opened"] or (file[1] if file else "")) or data
    rest = (arguments[text.end() :] if text else arguments).partition("{")[0]
    return Call(
        thread,
        found["name"],
        Path(os.fsdecode(path)),
        data,
        tuple(map(int, NUMBER.findall(rest))),
        frozenset(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", rest)),
        found["result"].startswith("-"),
        begin,
        end,
    )


def unescaped(text: str) -> bytes:
    """Return bytes that strace shows in hexadecimal."""
    return bytes.fromhex(text.replace("\\x", ""))


def span(calls: list[Call], start: str, end: str) -> list[Call]:
    """Return the calls that lie wholly between two marks."""
    marks = {call.mark: call for call in calls if call.mark}
    return [call for call in calls if call.begin > marks[start].end and call.end < marks[end].begin]


def on(calls: list[Call], file: str, *names: str) -> list[Call]:
    """Return the calls by these names on a file."""
    return [call for call in calls if call.path.name == file and call.name in names]


def returned(calls: list[Call]) -> list[str]:
    """Return what the program said to have returned, by marks that begin so."""
    return [call.mark.removeprefix("return ") for call in calls if call.mark.startswith("return ")]
