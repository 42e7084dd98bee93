"""Stores to look at, and ways to run the command: in this process, in a pipe, and on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from orchestrator.state_store import StateStore
from orchestrator.state_store._cli.program import cli

from tests.helpers import TIMEOUT, make_item, plain_sqlite

PROGRAM = "import sys; from orchestrator.state_store._cli import main; main()"

HOSTILE = (
    "<script>alert(1)</script>\x1b[31mred\x1b]0;title\x07 \u202egnp.exe\u2066 nul\x00 tab\there\nline\r\x9b31m "
    "\u200b\ufeff"
)
"""What may be in any stored text: markup, sequences that act on a terminal, and what changes the direction of text."""

HOSTILE_IDS = ("..", "a/b?c#d%e", "-rf", "--help", "run 1", "$(touch pwned)", "漢字" * 40, "x" * 300)
ACTS = set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x200B, 0xFEFF, *range(0x202A, 0x202F), 0x2066]))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing of this machine's in the way."""
    for name in ("ORCHESTRATOR_STATE_DB", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def db(tmp_path: Path, three_runs: Path) -> str:
    """Return a store of the test's own with three daily runs: completed, failed, and running but silent."""
    return str(shutil.copy(three_runs, tmp_path / "state.db"))


@pytest.fixture(scope="session")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make such a store, to copy."""
    path = tmp_path_factory.mktemp("runs") / "state.db"
    with StateStore(path, synchronous="NORMAL") as store:
        for number in (1, 2, 3):
            run_id = f"daily-{number}"
            settings = {"limit": 10 * number, "model": {"name": "large"}, "sources": ["osv", "rss"]}
            store.start_run(run_id, "daily", settings)
            store.upsert_intel_items_batch(items(run_id, number))
            store.write_telemetry(run_id, {"seconds": number / 2, "errors": []})
        store.start_run("weekly-1", "weekly", {})
        store.finish_run("weekly-1", "completed")
        store.finish_run("daily-1", "completed")
        store.finish_run("daily-2", "failed", "ConnectionError: the feed at example.com did not answer within 30 s")
    begin = datetime.now(UTC) - timedelta(hours=3)
    plain_sqlite(
        path,
        *(
            (f"UPDATE runs SET started_at = ?, heartbeat_at = NULL WHERE run_id = 'daily-{number}'", [at.isoformat()])
            for number, at in ((1, begin), (2, begin + timedelta(hours=1)), (3, begin + timedelta(hours=2)))
        ),
        ("UPDATE intel_items SET created_at = ?, updated_at = NULL", [begin.isoformat()]),
        ("UPDATE telemetry SET created_at = ?", [begin.isoformat()]),
    )
    return path


def items(run_id: str, number: int) -> Iterator[dict[str, Any]]:
    """Yield items of a run: of the later ones some are new, some gone, some decided otherwise."""
    for key in range(number, number + 4):
        decision = ("promote", "block", None)[(key + number) % 3]
        yield make_item(
            f"{run_id}/item-{key}",
            run_id,
            title=f"Item {key}: 漢字 and a title that is long enough to give way on any narrow terminal " * 2,
            scores_json={"total": 20 * key, "fit": key / 10, "a=b": key},
            risk_flags_json=["unverified"] if key % 2 else [],
            decision=decision,
        )


@pytest.fixture
def run(db: str) -> Callable[..., Result]:
    """Return what runs the command in this process, on that store."""

    def invoke(*words: str, db: str = db, **options: Any) -> Result:
        return CliRunner().invoke(cli, ["--db", db, *words], **options)

    return invoke


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a store with whatever may be in one; tests only read it."""
    path = tmp_path_factory.mktemp("hostile") / "state.db"
    with StateStore(path, synchronous="NORMAL") as store:
        for number, run_id in enumerate([*HOSTILE_IDS, HOSTILE]):
            store.start_run(run_id, HOSTILE, [1, {"a": HOSTILE}] if number % 2 else {HOSTILE: HOSTILE, "": 1})
            store.write_telemetry(run_id, [[1, 2], [HOSTILE]] if number % 2 else "text")
            store.upsert_intel_item(
                make_item(
                    f"{run_id}/{HOSTILE}",
                    run_id,
                    item_type=HOSTILE,
                    title=HOSTILE + "T" * 1_000_000,
                    summary=HOSTILE * 100,
                    claims_json="text",
                    evidence_json="javascript:alert(1)",
                    scores_json=[1, [2, HOSTILE]],
                    risk_flags_json=HOSTILE,
                    explainability_json="\ud800 alone",
                    decision=HOSTILE,
                    decision_reason=HOSTILE,
                )
            )
            scores = {"total": float("nan"), "huge": 10**400, "yes": True}
            flags = {"a": {"b": [HOSTILE]}}
            store.upsert_intel_item(make_item(f"{run_id}/2", run_id, scores_json=scores, risk_flags_json=flags))
            store.finish_run(run_id, HOSTILE, HOSTILE * 50)
    return str(path)


def acts(text: str) -> set[str]:
    """Return the characters of a text that act on a terminal, or hide something."""
    return ACTS & set(text)


def piped(db: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, its output in pipes."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ORCHESTRATOR_STATE_DB": db, **variables},
    )


@dataclass(frozen=True)
class Seen:
    """What a terminal got, and how the process ended."""

    text: str
    status: int

    @property
    def lines(self) -> list[str]:
        """The lines, without what is about the command itself."""
        lines = self.text.replace("\r\n", "\n").split("\n")
        return [line for line in lines if line and not line.startswith("orchestrator-state: ")]


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, columns: int, db: str, *words: str, program: str = PROGRAM, **variables: str) -> None:
        variables = {"TERM": "xterm-256color", "ORCHESTRATOR_STATE_DB": db, **variables}
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
            os.execve(sys.executable, [sys.executable, "-c", program, *words], {**os.environ, **variables})
        self._got = b""

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> Self:
        """Wait until the terminal has shown a text."""
        while text.encode() not in self._got:
            assert self._read(), f"it ended without {text!r}: {self._got!r}"
        return self

    def _read(self) -> bool:
        assert select.select([self._fd], [], [], TIMEOUT)[0], f"nothing came after {self._got!r}"
        try:
            got = os.read(self._fd, 65536)
        except OSError:
            return False
        self._got += got
        return bool(got)

    def end(self) -> Seen:
        """Wait until it ends."""
        while self._read():
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._fd)
        return Seen(self._got.decode(), status)


def on_terminal(columns: int, db: str, *words: str, **variables: str) -> Seen:
    """Run the command on a terminal of so many columns."""
    return Terminal(columns, db, *words, **variables).end()


def width(line: str) -> int:
    """Return how many columns a line takes."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)
