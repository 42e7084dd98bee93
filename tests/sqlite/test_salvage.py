"""salvage: a new file of what can be read, a report of the rest, and the old file as it was."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    ForeignDatabaseError,
    InvalidTypeError,
    InvalidValueError,
    Loss,
    NotADatabaseError,
    StateStore,
    StoreBusyError,
    salvage,
)

from tests import predecessor
from tests.faults.test_hostile_files import FOR_EVER
from tests.helpers import Boom, Peer, everything, folder_bytes, in_process, make_item, plain_sqlite
from tests.programs import salvages


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "salvaged.db"


def write(path: Path, items: int = 10) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {"a": 1})
        store.start_run("run-2", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{index:05}", scores_json={"n": index}) for index in range(items))
        store.delete_run("run-2", force=True)
        store.write_telemetry("run-1", {"a": 1})


def test_sound_file_is_copied_whole_and_left_as_it_was(path: Path, dest: Path) -> None:
    write(path, 1000)
    before = folder_bytes(path.parent)
    told: list[tuple[int, int]] = []
    report = salvage(path, str(dest), progress=lambda kept, lost: told.append((kept, lost)))
    assert report.kept == {"runs": 1, "intel_items": 1000, "telemetry": 1}
    assert (report.lost, report.mended, report.remarks) == ([], [], [])
    assert told[-1] == (1002, 0)
    assert told == sorted(told)
    after = folder_bytes(path.parent)
    assert after.pop(dest.name)
    assert after == before
    with StateStore(path, read_only=True) as old, StateStore(dest) as new:
        assert everything(new) == everything(old)
        assert {each.kind for each in new.check()} == set()


def test_what_no_list_can_read_is_mended_and_what_has_no_key_is_lost(path: Path, dest: Path) -> None:
    write(path)
    plain_sqlite(
        path,
        "UPDATE intel_items SET title = CAST(x'41e29c' AS TEXT) WHERE rowid = 2",
        "UPDATE intel_items SET scores_json = '{' WHERE rowid = 3",
        "UPDATE intel_items SET claims_json = x'5b315d' WHERE rowid = 4",
        "UPDATE intel_items SET item_id = x'ff' WHERE rowid = 5",
        "UPDATE telemetry SET telemetry_json = 'x'",
    )
    report = salvage(path, dest)
    assert report.kept == {"runs": 1, "intel_items": 9, "telemetry": 0}
    assert [(each.table, each.rowid, each.column) for each in report.lost] == [
        ("intel_items", 5, "item_id"),
        ("telemetry", 1, "telemetry_json"),
    ]
    assert [(each.rowid, each.id, each.column) for each in report.mended] == [
        (2, "00001", "title"),
        (3, "00002", "scores_json"),
    ]
    with StateStore(dest) as store:
        assert {each.kind for each in store.check()} <= {"stale_run"}
        _, two, three, four, *rest = store.list_intel_items_for_run("run-1")
    assert (two["title"], two["scores_json"]) == ("A\ufffd", {"n": 1})
    assert (three["title"], three["scores_json"]) == ("t", {})
    assert four["claims_json"] == [1]
    assert len(rest) == 5


@pytest.mark.parametrize("index", [True, False])
def test_log_of_a_store_that_was_not_closed_is_read_and_nothing_of_it_is_changed(
    path: Path, dest: Path, index: bool
) -> None:
    in_process(salvages.write_and_vanish, str(path))
    if not index:
        path.with_name("state.db-shm").unlink()
    before = folder_bytes(path.parent)
    assert before["state.db-wal"]
    report = salvage(path, dest)
    assert report.kept == {"runs": 1, "intel_items": 10, "telemetry": 0}
    assert report.remarks == []
    assert folder_bytes(path.parent) == {**before, dest.name: dest.read_bytes()}


def test_transaction_that_was_cut_off_is_undone_in_a_copy(path: Path, dest: Path) -> None:
    write(path, 100)
    with Peer(salvages.write_half, str(path)) as writer:
        assert writer.hear() == "half"
    before = folder_bytes(path.parent)
    assert before["state.db-journal"]
    report = salvage(path, dest)
    assert (report.kept["intel_items"], report.lost, report.remarks) == (100, [], [])
    assert folder_bytes(path.parent) == {**before, dest.name: dest.read_bytes()}
    with StateStore(dest) as store:
        assert {each["title"] for each in store.iter_intel_items()} == {"t"}


def test_file_that_another_process_is_writing_is_busy(path: Path, dest: Path) -> None:
    write(path, 100)
    with Peer(salvages.write_half, str(path)) as writer:
        assert writer.hear() == "half"
        before = folder_bytes(path.parent)
        with pytest.raises(StoreBusyError, match=r"^salvage .*state\.db: .*locked"):
            salvage(path, dest)
        assert folder_bytes(path.parent) == before


def test_file_that_is_written_meanwhile_is_busy(path: Path, dest: Path) -> None:
    """It is read without a lock, so that what was read may be of two moments."""
    write(path, 1000)

    def progress(*_: object) -> None:
        plain_sqlite(path, "PRAGMA journal_mode = DELETE", "UPDATE intel_items SET title = title || '!'")

    with pytest.raises(StoreBusyError, match=r"^salvage .*state\.db: the file changed while it was being read"):
        salvage(path, dest, progress=progress)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_items_of_a_run_that_is_lost_can_be_listed(path: Path, dest: Path) -> None:
    write(path)
    plain_sqlite(path, "PRAGMA foreign_keys = OFF", "DELETE FROM runs")
    [stand_in] = salvage(path, dest).mended
    assert (stand_in.table, stand_in.rowid, stand_in.id) == ("runs", None, "run-1")
    with StateStore(dest) as store:
        run = store.get_run("run-1")
        assert run is not None
        assert (run.status, run.run_type) == ("lost", "salvaged")
        assert len(store.list_intel_items_for_run("run-1")) == 10
        assert store.check() == []


def test_row_that_only_its_index_names_is_lost_by_its_id(path: Path, dest: Path) -> None:
    write(path)
    plain_sqlite(
        path,
        "PRAGMA writable_schema = ON",
        "CREATE TABLE twin AS SELECT * FROM intel_items WHERE rowid <> 3",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'twin') "
        "WHERE name = 'intel_items'",
    )
    report = salvage(path, dest)
    why = "its index names it, but another row is in its place"
    assert report.lost == [Loss("intel_items", 3, "00002", None, why)]
    assert report.kept["intel_items"] == 9


def roots(path: Path) -> tuple[int, int]:
    """Return the root pages of the items and of the index of their keys."""
    sql = "SELECT rootpage FROM sqlite_schema WHERE name IN ('intel_items', 'sqlite_autoindex_intel_items_1')"
    [[table], [index]] = plain_sqlite(path, f"{sql} ORDER BY name")
    return table, index


def cells_of(page: bytes | bytearray | memoryview) -> list[int]:
    """Return where an interior page has its cells, each of which begins with a child."""
    assert page[0] == 5, "no interior page"
    end = 12 + 2 * int.from_bytes(page[3:5], "big")
    return [int.from_bytes(page[at : at + 2], "big") for at in range(12, end, 2)]


def test_rows_that_nothing_leads_to_are_remarked_on(path: Path, dest: Path) -> None:
    write(path, 1000)
    table, index = roots(path)
    content = bytearray(path.read_bytes())
    content[(index - 1) * 4096 : index * 4096] = bytes(4096)
    page = memoryview(content)[(table - 1) * 4096 : table * 4096]
    cells = cells_of(page)
    for child in (*cells, 8):
        page[child : child + 4] = page[cells[0] : cells[0] + 4]
    path.write_bytes(content)
    report = salvage(path, dest)
    assert 0 < report.kept["intel_items"] < 100
    assert report.remarks == [
        "neither the rows of intel_items nor its index could be read in order: there may have been more rows"
    ]


def test_rowids_that_cannot_be_read_are_remarked_on_by_ranges(path: Path, dest: Path) -> None:
    write(path, 1000)
    table, index = roots(path)
    content = bytearray(path.read_bytes())
    page = content[(table - 1) * 4096 : table * 4096]
    cells = cells_of(page)
    leaves = [int.from_bytes(page[cell : cell + 4], "big") for cell in cells]
    for destroyed in (index, leaves[2], leaves[3], leaves[-1]):
        content[(destroyed - 1) * 4096 : destroyed * 4096] = bytes(4096)
    path.write_bytes(content)
    remarks = salvage(path, dest).remarks
    ranges = [each for each in remarks if "cannot be read" in each]
    assert len(ranges) == 2, remarks


def varint(value: int) -> bytes:
    """Return a number of 22 to 28 bits as SQLite's records have it."""
    return bytes([value >> 21 | 0x80, value >> 14 & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value & 0x7F])


def test_row_that_claims_to_be_longer_than_its_file_is_lost(path: Path, dest: Path) -> None:
    """SQLite reads a chain of pages that leads in a circle for as long as the row claims to be, of up to 1 GB."""
    write(path, 2)
    length, more = 3_000_000, 5000 * 4092
    with StateStore(path) as store:
        store.finish_run("run-1", "completed", "z" * length)
    content = bytearray(path.read_bytes())
    column = content.index(varint(2 * length + 13))
    [(start, size)] = [
        (at, size)
        for size in range(length, length + 4096)
        if (at := content.find(varint(size), column - 40, column)) >= 0
    ]
    content[column : column + 4] = varint(2 * (length + more) + 13)
    content[start : start + 4] = varint(size + more)
    local = 489 + (size - 489) % 4092
    pointer = start + 5 + (local if local <= 4061 else 489)
    while page := int.from_bytes(content[pointer : pointer + 4], "big"):
        pointer = (page - 1) * 4096
    content[pointer : pointer + 4] = (pointer // 4096 + 1).to_bytes(4, "big")
    path.write_bytes(content)
    report = salvage(path, dest)
    why = "string or blob too big; a row of SQLite holds at most 1,000,000,000 bytes"
    assert [(each.table, each.rowid, each.why) for each in report.lost] == [("runs", 1, why)]


def test_tables_of_others_and_views_in_the_place_of_tables_are_remarked_on(path: Path, dest: Path) -> None:
    write(path)
    view = f"CREATE VIEW telemetry AS SELECT {FOR_EVER} AS run_id, '{{}}' AS telemetry_json, '' AS created_at"
    own = "CREATE TABLE own(a)"
    plain_sqlite(path, "DROP TABLE telemetry", view, own, "ALTER TABLE runs ADD COLUMN mine TEXT")
    report = salvage(path, dest)
    assert report.kept == {"runs": 1, "intel_items": 10, "telemetry": 0}
    assert [[word for word in ("telemetry", "mine", "own") if word in each] for each in report.remarks] == [
        ["mine"],
        ["telemetry"],
        ["own"],
    ]


def test_file_of_the_predecessor_is_salvaged(path: Path, dest: Path) -> None:
    plain_sqlite(path, *predecessor.file(indexes=False, journal="DELETE"))
    report = salvage(path, dest)
    assert report.kept == {"runs": 1, "intel_items": 4, "telemetry": 1}
    with StateStore(path, read_only=True) as old, StateStore(dest, read_only=True) as new:
        assert new.list_runs() == old.list_runs()
        assert repr(list(new.iter_intel_items())) == repr(list(old.iter_intel_items()))


def test_what_is_refused_leaves_nothing(path: Path, dest: Path, tmp_path: Path) -> None:
    write(path)
    dest.write_bytes(b"mine")
    with pytest.raises(CannotOpenError, match=r"^salvage .*dest .*there is a file already; choose another name"):
        salvage(path, dest)
    with pytest.raises(InvalidValueError, match="the store's own file"):
        salvage(path, path)
    with pytest.raises(InvalidValueError, match="salvage: path and dest are files"):
        salvage(":memory:", dest)
    with pytest.raises(InvalidTypeError, match="progress must be callable"):
        salvage(path, dest, progress=1)  # type: ignore[arg-type]
    assert dest.read_bytes() == b"mine"
    dest.unlink()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no database" * 100)
    plain_sqlite(tmp_path / "foreign", "CREATE TABLE a(b)")
    before = folder_bytes(tmp_path)
    with pytest.raises(NotADatabaseError):
        salvage(tmp_path / "text", dest)
    with pytest.raises(ForeignDatabaseError, match="no table of a store"):
        salvage(tmp_path / "foreign", dest)
    with pytest.raises(CannotOpenError):
        salvage(tmp_path / "none", dest)
    with pytest.raises(ForeignDatabaseError, match="no table of a store"):
        salvage(tmp_path / "empty", dest)
    with pytest.raises(CannotOpenError, match=r"^salvage .*state\.db: dest .*folder/new\.db: No such file"):
        salvage(path, tmp_path / "folder" / "new.db")
    assert folder_bytes(tmp_path) == before


def test_what_progress_or_a_signal_raises_ends_it_and_leaves_nothing(path: Path, dest: Path) -> None:
    write(path, 30_000)
    before = folder_bytes(path.parent)

    def fail(*_: object) -> None:
        raise Boom

    with pytest.raises(Boom):
        salvage(path, dest, progress=fail)
    old = signal.signal(signal.SIGALRM, fail)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Boom):
            salvage(path, dest)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert folder_bytes(path.parent) == before
