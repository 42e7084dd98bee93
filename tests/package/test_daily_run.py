"""The example's whole job, run as a user runs it: as a process, on small inputs made here."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import IntelItem, StateStore

EXAMPLE = Path(__file__).parents[2] / "examples" / "daily_run.py"
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLE), *arguments, "--db", str(folder / "store.db")]


def daily_run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def report(folder: Path, *arguments: str, **environment: str) -> str:
    done = daily_run(folder, *arguments, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def lines_under(heading: str, text: str) -> list[list[str]]:
    """Return the rows of one table of a report, each cut at the runs of two spaces that part its columns."""
    block = next(block for block in text.split("\n\n") if block.startswith(heading))
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in block.splitlines()[1:]]


def advisory(key: str, **members: Any) -> dict[str, Any]:
    """Return an advisory that the rule promotes with 100 points, unless `members` say otherwise."""
    return {
        "id": key,
        "summary": f"Hole in {key}",
        "details": "Long story.",
        "modified": "2024-01-01T00:00:00Z",
        "affected": [{"package": {"name": key}, "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "1.1"}]}]}],
        "references": [{"type": "FIX", "url": "https://example.org/fix"}],
        "severity": [{"type": "CVSS_V3", "score": CRITICAL}],
        "aliases": ["CVE-2024-1"],
    } | members


def write_feed(folder: Path, *advisories: Any) -> str:
    (folder / "feed.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in advisories), encoding="utf-8")
    return "feed.jsonl"


@contextmanager
def opened(folder: Path) -> Iterator[StateStore]:
    with StateStore(folder / "store.db") as store:
        yield store


def runs(folder: Path) -> list[tuple[str, str | None]]:
    """Return status and notes of each run, the oldest first; every one has to be finished."""
    with opened(folder) as store:
        rows = store.connection.execute("SELECT * FROM runs ORDER BY started_at").fetchall()
    assert all(row["finished_at"] for row in rows)
    return [(row["status"], row["notes"]) for row in rows]


def items_by_run(folder: Path) -> list[dict[str, IntelItem]]:
    """Return the items of each run by their key, the oldest run first."""
    with opened(folder) as store:
        run_ids = [row["run_id"] for row in store.connection.execute("SELECT run_id FROM runs ORDER BY started_at")]
        return [{i["item_id"].split("/")[1]: i for i in store.list_intel_items_for_run(run)} for run in run_ids]


def decisions(items: dict[str, IntelItem]) -> dict[str, str | None]:
    return {key: item["decision"] for key, item in items.items()}


def test_a_run_is_summed_up_and_on_record(tmp_path: Path) -> None:
    unrated = advisory("UNRATED", severity=[], affected=None)
    feed = write_feed(tmp_path, advisory("HOLE"), unrated, advisory("GONE", withdrawn="2024-02-01"))
    text = report(tmp_path, feed)

    assert text.startswith("Run advisories-")
    assert "3 advisories from" in text.splitlines()[0]
    assert lines_under("Decisions", text) == [
        ["promote", "1", "33.3%"],
        ["monitor", "1", "33.3%"],
        ["block", "1", "33.3%"],
    ]
    assert lines_under("Top ten", text) == [
        ["100", "promote", "HOLE: Hole in HOLE", "no risk flags"],
        ["35", "monitor", "UNRATED: Hole in UNRATED", "no_fix -20, no_severity -5"],
        ["0", "block", "GONE: Hole in GONE", "withdrawn -100"],
    ]
    assert [row[0] for row in lines_under("Time", text)][:2] == ["read the source", "store the items"]
    assert all(row[1].split()[1] in ("us", "ms", "s") for row in lines_under("Time", text))
    assert "no run before" in text
    assert f"Database {tmp_path / 'store.db'}: " in text

    assert [status for status, _ in runs(tmp_path)] == ["completed"]
    (items,) = items_by_run(tmp_path)
    assert list(items) == ["HOLE", "UNRATED", "GONE"]
    hole = items["HOLE"]
    assert hole["item_id"] == f"{hole['run_id']}/HOLE"
    assert hole["claims_json"] == {
        "version": "2024-01-01T00:00:00Z",
        "affects": [{"name": "HOLE"}],
        "fixed_in": ["1.1"],
    }
    assert hole["evidence_json"][1] == {"type": "ALIAS", "id": "CVE-2024-1"}
    assert items["GONE"]["risk_flags_json"] == ["withdrawn"]
    assert items["GONE"]["explainability_json"]["deductions"] == {"withdrawn": 100}
    with opened(tmp_path) as store:
        row = store.connection.execute("SELECT telemetry_json FROM telemetry").fetchone()
    assert row is not None
    telemetry = json.loads(row[0])
    assert telemetry["items"] == 3
    assert telemetry["decisions"] == {"promote": 1, "monitor": 1, "block": 1}
    assert telemetry["seconds"]["store the items"] > 0


def test_a_second_run_keeps_the_first_and_says_what_changed(tmp_path: Path) -> None:
    report(tmp_path, write_feed(tmp_path, advisory("SAME"), advisory("OLD"), advisory("NEWER"), advisory("WORSE")))
    newer, worse = advisory("NEWER", modified="2024-03-03T00:00:00Z"), advisory("WORSE", withdrawn="2024-03-03")
    text = report(tmp_path, write_feed(tmp_path, advisory("SAME"), newer, worse, advisory("ADDED")))

    first, second = items_by_run(tmp_path)
    first_run = first["SAME"]["run_id"]
    assert f"Changes since {first_run}: added 1, removed 1, new version 1, new decision 1" in text
    assert lines_under("Changes", text) == [
        ["added", "ADDED: Hole in ADDED", "promote"],
        ["removed", "OLD: Hole in OLD", "was promote"],
        ["new version", "NEWER: Hole in NEWER", "2024-01-01T00:00:00Z -> 2024-03-03T00:00:00Z"],
        ["new decision", "WORSE: Hole in WORSE", "promote -> block"],
    ]
    assert (list(first), list(second)) == (["SAME", "OLD", "NEWER", "WORSE"], ["SAME", "NEWER", "WORSE", "ADDED"])
    assert first["NEWER"]["claims_json"]["version"] == "2024-01-01T00:00:00Z"

    assert f"Changes since {second['SAME']['run_id']}: none" in report(tmp_path, "feed.jsonl")


def test_a_run_promotes_ten_and_the_next_goes_on_there(tmp_path: Path) -> None:
    feed = write_feed(tmp_path, *(advisory(f"HOLE-{number:02}") for number in range(25)))
    assert "15 of the monitored would be promoted, but have to wait" in report(tmp_path, feed)
    text = report(tmp_path, feed)
    assert "new decision 10" in text
    assert lines_under("Changes", text)[-1] == ["new decision", "and 2 more"]
    assert "new decision 5" in report(tmp_path, feed)

    promoted = [sum(d == "promote" for d in decisions(items).values()) for items in items_by_run(tmp_path)]
    assert promoted == [10, 20, 25]
    waiting = items_by_run(tmp_path)[0]["HOLE-10"]
    assert waiting["decision_reason"] == "waits: the 10 promotions of this run are taken"
    assert waiting["explainability_json"]["first_decision"] == "promote"


def test_what_was_blocked_is_monitored_for_one_run(tmp_path: Path) -> None:
    report(tmp_path, write_feed(tmp_path, advisory("BACK", withdrawn="2024-02-01")))
    report(tmp_path, write_feed(tmp_path, advisory("BACK")))
    report(tmp_path, "feed.jsonl")
    assert [decisions(items)["BACK"] for items in items_by_run(tmp_path)] == ["block", "monitor", "promote"]


def test_installed_distributions_are_judged(tmp_path: Path) -> None:
    def install(name: str, version: str, *fields: str) -> None:
        folder = tmp_path / "site" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *fields])
        )

    good = ("Summary: s", "License-Expression: MIT", "Project-URL: Home, https://example.org")
    install("sound", "1.0", *good, "Requires-Dist: other>=1", "Requires-Dist: loose; extra == 'x'")
    install("shaky", "0.2rc1", *good, "Requires-Dist: loose; python_version > '3'")
    install("bare", "2.0", "Summary: UNKNOWN", "Classifier: Development Status :: 7 - Inactive")
    (tmp_path / "site" / "half_removed-1.0.dist-info").mkdir()

    search_path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    assert "Run distributions-" in report(tmp_path, PYTHONPATH=search_path)
    (items,) = items_by_run(tmp_path)
    assert items["sound"]["risk_flags_json"] == []
    assert items["sound"]["claims_json"] == {"version": "1.0", "licence": "MIT", "requires": ["other>=1"]}
    assert items["sound"]["evidence_json"] == [{"type": "WEB", "url": "https://example.org"}]
    assert items["shaky"]["risk_flags_json"] == ["unpinned_requirement", "version_zero", "pre_release"]
    assert items["shaky"]["scores_json"] == {"base": 100, "total": 60}
    assert (items["shaky"]["decision"], items["bare"]["decision"]) == ("monitor", "block")
    assert items["bare"]["risk_flags_json"] == ["no_licence", "no_project_url", "no_summary", "inactive"]
    assert "" not in items


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "feed.jsonl: No such file or directory"),
        ("", "feed.jsonl: there is nothing in it"),
        ("\n\n", "feed.jsonl: there is nothing in it"),
        ('{"id": "A"}\n\n{"id": "B",}\n', "feed.jsonl:3: not JSON: "),
        ('{"id": "A"}\n["B"]\n', 'feed.jsonl:2: not an advisory: ["B"] where an object is wanted'),
        ('{"id": "A"}\n{"summary": "B"}\n', "feed.jsonl:2: not an advisory: it has no 'id'"),
        ('{"id": 7}\n', "feed.jsonl:1: not an advisory: 'id' is a int, not a str"),
        ('{"id": "A", "affected": [1]}\n', "feed.jsonl:1: not an advisory: 1 where an object is wanted"),
        ('{"id": "A", "affected": {}}\n', "feed.jsonl:1: not an advisory: 'affected' is a dict, not a list"),
        ('{"id": "A"}\n"\xff"\n', "feed.jsonl:2: 'utf-8' codec can't decode"),
        ("[" * 100_000, "feed.jsonl:1: "),
        ('{"id": "A\\ud800"}\n', "surrogate"),
    ],
)
def test_bad_input_fails_the_run_in_one_line(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "feed.jsonl").write_bytes(content.encode("latin-1"))
    done = daily_run(tmp_path, "feed.jsonl")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("daily_run: ")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr
    assert runs(tmp_path) == [("failed", done.stderr.removeprefix("daily_run: ").rstrip("\n"))]
    assert items_by_run(tmp_path) == [{}]


def test_a_terminal_that_lacks_the_letters_gets_others(tmp_path: Path) -> None:
    feed = write_feed(tmp_path, advisory("A", summary="Lücke \x1b[2J"))
    assert "A: L?cke [2J" in report(tmp_path, feed, PYTHONIOENCODING="ascii")


def test_a_failed_run_is_not_compared_with(tmp_path: Path) -> None:
    report(tmp_path, write_feed(tmp_path, advisory("A")))
    (tmp_path / "feed.jsonl").write_text("no JSON\n")
    assert daily_run(tmp_path, "feed.jsonl").returncode == 1
    text = report(tmp_path, write_feed(tmp_path, advisory("A")))
    assert f"Changes since {items_by_run(tmp_path)[0]['A']['run_id']}: none" in text


def test_another_feed_is_not_compared_with(tmp_path: Path) -> None:
    report(tmp_path, write_feed(tmp_path, advisory("A")))
    (tmp_path / "feed.jsonl").rename(tmp_path / "other.jsonl")
    assert "no run before" in report(tmp_path, "other.jsonl")


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"precious notes, no database\n" * 400)
    done = daily_run(tmp_path, write_feed(tmp_path, advisory("A")))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "store.db" in done.stderr
    assert (tmp_path / "store.db").read_bytes() == b"precious notes, no database\n" * 400


def test_an_interrupted_run_is_cancelled(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "feed.jsonl")
    # A shell that started us in the background may have had SIGINT ignored, which a child would inherit.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command(tmp_path, "feed.jsonl"), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process, (tmp_path / "feed.jsonl").open("w"):  # opens once the run has come to reading
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "daily_run: interrupted\n")
    assert runs(tmp_path) == [("cancelled", "interrupted")]


def test_runs_started_at_once_get_a_number_each(tmp_path: Path) -> None:
    write_feed(tmp_path, advisory("A"))
    processes = [
        subprocess.Popen(command(tmp_path, "feed.jsonl"), cwd=tmp_path, stdout=subprocess.PIPE) for _ in "1234"
    ]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    run_ids = [items["A"]["run_id"] for items in items_by_run(tmp_path)]
    assert len(set(run_ids)) == 4
