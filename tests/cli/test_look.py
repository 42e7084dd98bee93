"""`page` and `report` say what is wrong with where they listen or write, and replace no store."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from orchestrator.state_store import StateStore

Run = Callable[..., Result]


def test_a_report_never_replaces_a_store(run: Run, db: str, tmp_path: Path) -> None:
    link = tmp_path / "link.html"
    link.symlink_to(db)
    for file in (db, str(link)):
        done = run("report", "daily-1", "-o", file)
        assert done.exit_code == 1
        assert "it is a SQLite database" in done.stderr
    with StateStore(db, read_only=True) as store:
        assert store.count_runs() == 4


def test_a_report_is_written_into_what_is_no_file(run: Run, tmp_path: Path) -> None:
    """Guards against a file in the place of /dev/null, or of the pipe that somebody reads."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    done = run("report", "daily-1", "-o", str(pipe))
    assert done.exit_code == 0
    assert pipe.is_fifo()
    reader.join()
    assert got[0].startswith(b"<!doctype html>")


def test_a_report_follows_a_link(run: Run, tmp_path: Path) -> None:
    link = tmp_path / "latest.html"
    link.symlink_to(tmp_path / "report.html")
    assert run("report", "daily-1", "-o", str(link)).exit_code == 0
    assert link.is_symlink()
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_a_report_of_a_dash_is_printed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("report", "daily-1", "-o", "-").stdout.startswith("<!doctype html>")
    assert not Path("-").exists()


@pytest.mark.parametrize(("file", "why"), [("", "it is a folder"), ("no/such/x.html", "No such file or directory")])
def test_where_a_report_cannot_be_is_named(run: Run, tmp_path: Path, file: str, why: str) -> None:
    place = str(tmp_path / file)
    done = run("report", "daily-1", "-o", place)
    assert done.exit_code == 1
    assert done.stderr == f"orchestrator-state: {place}: {why}\n"


def test_a_port_that_there_is_not_is_wrong_usage(run: Run) -> None:
    done = run("page", "--port", "65536", "--no-open")
    assert done.exit_code == 2
    assert "'--port': ports go up to 65535" in done.stderr


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("page", "--port", str(port), "--no-open")
    assert done.exit_code == 1
    assert done.stderr == f"orchestrator-state: port {port} of 127.0.0.1: Address already in use\n"
