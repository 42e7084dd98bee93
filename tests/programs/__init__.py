"""What the tests run in other processes. `python -m tests.programs MODULE FUNCTION ARGUMENTS` runs one function.

A program talks to its test in lines: `say` on stdout, `hear` on stdin. What its function returns comes last, as JSON.
"""

import os
import sys


def say(line: str = "ready") -> None:
    """Send a line to the test, in one write, so that lines of several threads do not mix."""
    os.write(1, f"{line}\n".encode())


def hear() -> str:
    """Wait for a line of the test."""
    line = sys.stdin.readline()
    if not line:
        raise EOFError("the test has gone")
    return line.rstrip("\n")
