"""The command `orchestrator-state`, also `python -m orchestrator.state_store VERB`: look at a store, and look after it.

It needs the extra `cli`: click, and rich where a table or a progress bar is drawn.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

EXTRA = ("click", "rich", "jinja2", "markupsafe", "starlette", "uvicorn")
MISSING = "it needs the extra `cli`: pip install 'orchestrator-state-store[cli]'"


def main(prog_name: str = "orchestrator-state") -> NoReturn:
    """Run the command line, and exit: 0, 1 failed or findings, 2 usage, 3 no such run or item, 130 Ctrl-C."""
    try:
        from orchestrator.state_store._cli.program import cli
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        print(f"{prog_name}: {MISSING}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Not where it is ignored, as by nohup.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        cli.main(prog_name=prog_name)
    finally:
        # What is done is done: Ctrl-C while the interpreter ends does not change the status.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise AssertionError("main exits")


def _end(number: int, _: object) -> NoReturn:
    """End as by Ctrl-C: files that are not whole, and the one that opened the browser, are removed."""
    sys.exit(128 + number)
