"""A disk that fails to take what was written, says so once, and lets the next sync succeed.

Linux takes the pages of a write-back that failed for clean. Whoever counts them as written because a later sync
succeeded loses them. After each test the power is cut: what counts is what the disk has.
"""

from __future__ import annotations

import ast
import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from orchestrator.state_store import StateStore

from tests.faults.write_back import WriteBack
from tests.helpers import TIMEOUT, Peer, assert_sound, in_process, plain_sqlite
from tests.programs import plain, retention
from tests.programs import write_back as programs

HOWS = ("partial", "complete", "background", "close")
"""How the log is checkpointed: by calls, while somebody reads what is older or not; as it grows (a part, and then all
with the next write starting it over); and by those who close."""
SYNCS = range(1, 7)
ITEMS = 20_000
IN_BACKGROUND = 3
"""How many times as many items it takes for the log to grow until it is checkpointed some times."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what makes write-backs fail."""
    library = tmp_path_factory.mktemp("write_back") / "write_back.so"
    source = Path(__file__).with_name("write_back.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def disk(
    tool: Callable[[str], str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> WriteBack:
    """Return the disk of the programs that the test starts."""
    tool("cc")
    state = tmp_path / "write_back"
    disk = WriteBack(state)
    monkeypatch.setenv("WRITE_BACK", str(state))
    monkeypatch.setenv("LD_PRELOAD", str(request.getfixturevalue("library")))
    return disk


def ids(names: Iterable[str]) -> set[str]:
    """Return the ids of the items of batches."""
    return {f"{name}.{part}" for name in names for part in range(programs.BATCH)}


def left(path: Path) -> set[str]:
    """Return what is in a file, which must be sound."""
    with StateStore(path) as store:
        assert_sound(store)
        return {row[0] for row in store.connection.execute("SELECT item_id FROM intel_items")}


def write(
    disk: WriteBack, path: Path, processes: int, items: int, how: str, **fault: object
) -> tuple[set[str], list[dict[str, object]]]:
    """Have processes write while the disk fails; return what was acknowledged, and what each of them says."""
    outcomes = []
    batches = -(-items // processes // programs.BATCH)
    with contextlib.ExitStack() as stack:
        peers = []
        for number in range(processes):
            program = Peer(programs.write_and_leave, str(path), f"p{number}", batches, how)
            peers.append(stack.enter_context(program))
            assert peers[-1].hear() == "ready"
        disk.fail(**fault)  # type: ignore[arg-type]
        for peer in peers:
            peer.tell()
        names, waits = [], how in ("partial", "complete")
        for peer in peers:
            while waits and (line := peer.hear()) != "written":
                names.append(line)
        if waits:
            disk.fail("")
        for peer in peers:
            if waits:
                peer.tell()
            *last, outcome = peer.lines()
            assert peer.process.wait(TIMEOUT) == 0
            names += last
            outcomes.append(ast.literal_eval(outcome))
    return ids(names), outcomes


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("target", ["database", "log"])
@pytest.mark.parametrize("how", HOWS)
def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path,
    disk: WriteBack,
    rounds: Callable[[int, int], int],
    figure: Callable[[str], None],
    how: str,
    target: str,
    processes: int,
) -> None:
    numbers = SYNCS if rounds(0, 1) else [1 + (HOWS.index(how) + processes) % 2]
    items = rounds(6000, ITEMS) * (IN_BACKGROUND if how == "background" else 1)
    failed = 0
    for number in numbers:
        path = tmp_path / f"{number}" / "state.db"
        fault = {"target": target, "number": number, "drop": number % 2 == 0}
        acknowledged, outcomes = write(disk, path, processes, items, how, **fault)
        assert len(acknowledged) >= items
        failed += (fired := disk.failed)
        counted = sum(outcome["failed"] for outcome in outcomes)  # type: ignore[misc]
        assert counted >= fired or how in ("background", "close"), "nobody counted it"
        disk.power_cut(path)
        assert acknowledged - left(path) == set(), f"lost after sync {number} of the {target}"
        shutil.rmtree(path.parent)
    assert failed >= len(numbers) - (how == "close"), "syncs did not fail"
    figure(f"{failed} failed syncs, of {items} acknowledged items each 0 lost")


@pytest.mark.parametrize("drop", [False, True])
def test_with_synchronous_normal_a_part_that_is_checkpointed_after_a_failed_sync_of_the_log_tears_nothing(
    path: Path, disk: WriteBack, drop: bool
) -> None:
    """The disk has the log up to an earlier sync. What it does not have must not be in the database on its own."""
    with Peer(programs.checkpoint_parts, str(path)) as peer:
        names = set(iter(peer.hear, "checkpointed"))
        disk.fail("log", drop=drop)
        peer.tell()
        failed, *attempts = peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    assert (disk.failed, "disk I/O error" in failed) == (1, True)
    assert [attempt == "checkpointed" for attempt in attempts] == [not drop] * 2, attempts
    assert ["close every store" in attempt for attempt in attempts] == [drop] * 2, "no remedy is told"
    disk.power_cut(path)
    there = left(path)
    assert there == ids({name.partition(".")[0] for name in there}), "a batch is torn"
    if not drop:
        assert there >= ids(names - {"items-20"}), "what was checkpointed is gone"


def test_writes_go_on_to_the_bound_are_refused_and_go_on_when_the_disk_is_well(
    path: Path, disk: WriteBack, figure: Callable[[str], None]
) -> None:
    with Peer(programs.go_on, str(path)) as peer:
        assert peer.hear() == "ready"
        disk.fail(target="database", forever=True)
        peer.tell()
        names = []
        while not (line := peer.hear()).startswith("told"):
            names.append(line)
        assert "nothing was written" in line
        failed = int(peer.hear().removeprefix("failed "))
        assert failed >= 2
        assert peer.hear() == "found ['sync']"
        assert peer.hear().startswith("checkpoint checkpoint: ")
        disk.fail("")
        peer.tell()
        *after, complete, found = peer.lines()
        assert peer.process.wait(TIMEOUT) == 0
    assert (complete, found) == ("complete True", "found []")
    disk.power_cut(path)
    there = left(path)
    assert ids([*names, *after]) - there == set()
    figure(f"{len(names)} batches until refused, {failed} failed syncs")


def test_other_programs_that_count_pages_unsynced_lose_nothing_by_a_sync_of_ours_that_fails(
    path: Path, disk: WriteBack
) -> None:
    """Plain SQLite has checkpointed a part, without a sync, when our sync of the rest fails and says so."""
    with Peer(programs.count_on_others, str(path)) as peer:
        names = [peer.hear()]
        with Peer(retention.hold_a_read, str(path)) as reader:
            assert reader.hear() == "ready"
            peer.tell()
            names.append(peer.hear())
            [[busy, log, backfilled]] = plain_sqlite(path, "PRAGMA wal_checkpoint(PASSIVE)")
            assert (busy, backfilled < log, backfilled > 0) == (0, True, True)
            reader.tell()
            reader.result()
        disk.fail("database")
        peer.tell()
        assert peer.hear() == "StorageIOError"
        assert peer.hear() == "complete"
        names.append(peer.hear())
        peer.process.wait(TIMEOUT)
    disk.power_cut(path)
    assert ids(names) - left(path) == set()


def test_plain_sqlite_does_lose(path: Path, disk: WriteBack, figure: Callable[[str], None]) -> None:
    """The control: a part is checkpointed under a reader, and the sync of the rest fails once."""
    with Peer(plain.write_and_checkpoint_twice, str(path)) as peer:
        assert peer.hear() == "1000"
        with Peer(retention.hold_a_read, str(path)) as reader:
            assert reader.hear() == "ready"
            peer.tell()
            assert peer.hear() == "2000"
            reader.tell()
            reader.result()
        disk.fail("database")
        peer.tell()
        assert peer.hear() == "OperationalError: disk I/O error"
        assert peer.hear() == "checkpointed"
        peer.process.wait(TIMEOUT)
    disk.power_cut(path)
    count = in_process(plain.count_rows, str(path))
    figure(f"plain sqlite3 lost {2000 - count} of 2000 rows")
    assert count < 2000


def test_commit_on_top_of_one_whose_sync_failed_before_a_crash_is_kept(path: Path, disk: WriteBack) -> None:
    told = []
    for name, target in (("first", ""), ("failed", "log"), ("last", "")):
        with Peer(programs.commit_and_die, str(path)) as peer:
            assert peer.hear() == "ready"
            disk.fail(target)
            peer.tell(name)
            told.append(peer.hear())
            peer.process.wait(TIMEOUT)
    assert told == ["done", "CommitOutcomeUnknownError", "done"]
    disk.power_cut(path)
    assert ids(["first", "last"]) - left(path) == set()
