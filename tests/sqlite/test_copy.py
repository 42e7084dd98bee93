"""Copying a store from file to file: as it is, whatever kills the copy; and what is refused before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import (
    CannotOpenError,
    Copied,
    CopyProgress,
    CorruptDatabaseError,
    InvalidValueError,
    StateStore,
    StoreBusyError,
    copy_store,
    moment,
)

from tests import predecessor
from tests.copies import filled, finished, killed, rows
from tests.helpers import Boom, make_item, plain_sqlite


def counts(copied: Copied) -> dict[str, int]:
    return {table: getattr(copied, table) for table in moment.TABLES}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return filled(tmp_path / "source.db")


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def test_rows_stay_as_they_are_in_the_order_of_recording(
    source: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(source)
    for most_rows, most_bytes in ((moment.MOST_ROWS, moment.MOST_BYTES), (7, moment.MOST_BYTES), (50, 3000)):
        monkeypatch.setattr(moment, "MOST_ROWS", most_rows)
        monkeypatch.setattr(moment, "MOST_BYTES", most_bytes)
        copied = copy_store(source, dst)
        assert counts(copied) == dict(zip(moment.TABLES, map(len, before), strict=True))
        assert rows(dst) == before == rows(source)
        with StateStore(dst) as store, StateStore(source) as original:
            assert store.check() == original.check()
            assert (
                store.connection.execute("SELECT name FROM sqlite_schema WHERE name = 'unfinished_copy'").fetchall()
                == []
            )
            ids = [
                each.connection.execute("SELECT store_id FROM store_identity").fetchall() for each in (store, original)
            ]
        assert ids[0] != ids[1], "a cursor of the one would be taken by the other"
        dst.unlink()


def test_rowids_at_the_ends_come_too(source: Path, dst: Path) -> None:
    ids = [item[0] for item in rows(source)[1][:3]]
    for rowid, item_id in zip((-(2**63), 0, 2**63 - 1), ids, strict=True):
        plain_sqlite(source, ("UPDATE intel_items SET rowid = ? WHERE item_id = ?", [rowid, item_id]))
    copy_store(source, dst)
    assert rows(dst) == rows(source)


def test_each_cell_counts_in_the_digest(source: Path, tmp_path: Path) -> None:
    plain_sqlite(source, "UPDATE runs SET heartbeat_at = 'then' WHERE rowid = 2")
    digests = {copy_store(source, tmp_path / "copy.db").digest}
    for number, change in enumerate(
        (
            "UPDATE telemetry SET telemetry_json = telemetry_json || ' ' WHERE rowid = 3",
            "UPDATE runs SET heartbeat_at = 'now' WHERE rowid = 2",
            "UPDATE runs SET heartbeat_at = NULL WHERE rowid = 2",
            "UPDATE runs SET heartbeat_at = '' WHERE rowid = 2",
            "UPDATE intel_items SET title = summary, summary = title WHERE rowid = 5",
        )
    ):
        plain_sqlite(source, change)
        digests.add(copy_store(source, tmp_path / f"{number}.db").digest)
    assert len(digests) == 6


def test_killed_copy_goes_on(source: Path, dst: Path, pytestconfig: pytest.Config) -> None:
    rounds, most_rows = (20, 3) if pytestconfig.getoption("--full") else (6, 10)
    reached = 0
    for seen in killed(str(source), str(dst), rounds, most_rows, 5):
        assert not dst.exists()
        assert seen["first copy"] >= reached, "it began again"
        reached = seen["copy"]
    copied = finished(str(source), str(dst), 5000)
    assert rows(dst) == rows(source)
    assert copied == vars(copy_store(source, dst)), "what is copied already is not the same"
    assert not list(dst.parent.glob("*.copying*"))


def test_copy_begins_again_if_the_source_has_changed(source: Path, dst: Path) -> None:
    for seen in killed(str(source), str(dst), 1, 10, 5):
        assert seen["copy"]
    plain_sqlite(source, "UPDATE runs SET notes = 'changed' WHERE rowid = 1", "DELETE FROM intel_items WHERE rowid = 9")
    steps: list[CopyProgress] = []
    copy_store(source, dst, progress=steps.append)
    assert next(each for each in steps if each.step == "copy").rows == len(rows(source)[0])
    assert rows(dst) == rows(source)


def test_copy_is_of_one_moment(source: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 20)
    before = rows(source)
    with StateStore(source) as store:
        numbers = iter(range(10_000))

        def write(_: CopyProgress) -> None:
            number = next(numbers)
            store.start_run(f"later {number}", "daily", {})
            store.upsert_intel_item(make_item(f"later {number}", f"later {number}"))
            store.write_telemetry(f"later {number}", {})

        copy_store(source, dst, progress=write)
    assert rows(dst) == before


def test_progress_counts_rows_and_bytes_of_each_step(source: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 100)
    told: list[CopyProgress] = []
    copy_store(source, dst, progress=told.append)
    texts = [cell for table in rows(source) for row in table for cell in row if cell is not None]
    total = sum(map(len, rows(source))), sum(len(text.encode()) for text in texts)
    for step in ("survey", "copy", "verify"):
        of_step = [each for each in told if each.step == step]
        assert {(each.total_rows, each.total_bytes) for each in of_step} == {total}
        assert [each.rows for each in of_step] == sorted({each.rows for each in of_step})
        assert (of_step[-1].rows, of_step[-1].bytes) == total


def test_what_progress_raises_passes_on_and_the_copy_goes_on(
    source: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 100)
    for step in ("survey", "copy", "verify"):

        def fail(progress: CopyProgress, step: str = step) -> None:
            if progress.step == step:
                raise Boom

        with pytest.raises(Boom):
            copy_store(source, dst, progress=fail)
    copy_store(source, dst)
    assert rows(dst) == rows(source)


def test_other_data_is_refused_untouched(source: Path, dst: Path, tmp_path: Path) -> None:
    with StateStore(dst) as store:
        store.start_run("other", "daily", {})
    for name, others in (("copy.db", source), ("same.db", source)):
        if name == "same.db":
            copy_store(source, tmp_path / name)
            plain_sqlite(tmp_path / name, "UPDATE runs SET notes = 'other' WHERE rowid = 1")
        before = rows(tmp_path / name)
        with pytest.raises(CannotOpenError, match=r"holds something else than .*; nothing was copied; name") as caught:
            copy_store(others, tmp_path / name)
        assert "\n" not in str(caught.value)
        assert rows(tmp_path / name) == before


def test_file_that_is_no_store_is_refused(source: Path, dst: Path) -> None:
    for content in (b"", b"not a database" * 100):
        dst.write_bytes(content)
        with pytest.raises(CannotOpenError.__mro__[1], match=r"^copy_store: dst: ") as caught:
            copy_store(source, dst)
        assert "\n" not in str(caught.value)
        assert dst.read_bytes() == content


def test_store_is_not_copied_onto_itself(source: Path) -> None:
    with pytest.raises(CannotOpenError, match="is the store itself"):
        copy_store(source, source)
    with pytest.raises(InvalidValueError, match="name a file"):
        copy_store(source, ":memory:")
    with pytest.raises(InvalidValueError, match="read_only"):
        copy_store(":memory:", source)


def test_unfinished_copy_of_another_store_is_kept(source: Path, dst: Path, tmp_path: Path) -> None:
    for _ in killed(str(source), str(dst), 1, 10, 5):
        pass
    other = filled(tmp_path / "other.db", 30)
    with pytest.raises(CannotOpenError, match="an unfinished copy of another store"):
        copy_store(other, dst)
    copy_store(source, dst)
    assert rows(dst) == rows(source)


def test_source_that_is_not_there_is_named(tmp_path: Path, dst: Path) -> None:
    with pytest.raises(CannotOpenError, match=r"^copy_store: src: "):
        copy_store(tmp_path / "nothing.db", dst)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE intel_items SET title = x'ff00' WHERE rowid = 7", r"intel_items \".*\": title is no text"),
        ("UPDATE intel_items SET claims_json = x'ff' WHERE rowid = 7", r"intel_items \".*\": claims_json is no text"),
        ("UPDATE runs SET notes = CAST(x'ff' AS TEXT) WHERE rowid = 7", r"runs, rowid 7: "),
        ("DELETE FROM runs WHERE rowid = 7", r"intel_items \".*\": there is no run \".*\"; .*; \.\.\.$"),
    ],
)
def test_rows_that_cannot_be_copied_are_named_before_anything_is(
    source: Path, dst: Path, change: str, message: str
) -> None:
    plain_sqlite(source, "PRAGMA foreign_keys = OFF", change)
    with pytest.raises(InvalidValueError, match=message) as caught:
        copy_store(source, dst)
    assert str(caught.value).startswith("copy_store: ")
    assert "\n" not in str(caught.value)
    assert not list(dst.parent.glob("copy.db*"))


def test_json_that_others_have_bound_as_bytes_is_copied_as_text(source: Path, dst: Path) -> None:
    json = '{"\u00e9": "\0"}'
    plain_sqlite(source, f"UPDATE intel_items SET claims_json = x'efbbbf{json.encode().hex()}' WHERE rowid = 7")
    copy_store(source, dst)
    assert rows(dst)[1][6][5] == json


def test_files_of_the_predecessor_are_copied_and_left_as_they_are(tmp_path: Path, dst: Path) -> None:
    path = tmp_path / "old.db"
    plain_sqlite(
        path,
        *predecessor.TABLES,
        "INSERT INTO runs VALUES ('r', 't', 'then', NULL, 'running', '{}', NULL)",
        """INSERT INTO intel_items
            VALUES ('i', 'r', 't', 't', 's', '[]', '[]', '{}', '[]', '[]', NULL, NULL, 'then')""",
    )
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    before = plain_sqlite(path, schema)
    assert counts(copy_store(path, dst)) == {"runs": 1, "intel_items": 1, "telemetry": 0}
    assert plain_sqlite(path, schema) == before
    with StateStore(dst) as store:
        assert [item["created_at"] for item in store.list_intel_items_for_run("r")] == ["then"]


def test_what_is_written_to_the_copy_meanwhile_is_found_out(source: Path, dst: Path) -> None:
    def write(progress: CopyProgress) -> None:
        if progress.step == "copy" and progress.rows == progress.total_rows:
            with StateStore(f"{dst}.copying") as store:
                store.start_run("stranger", "daily", {})

    with pytest.raises(CorruptDatabaseError, match="does not hold what was copied"):
        copy_store(source, dst, progress=write)
    assert not dst.exists()


def test_two_copies_at_once_are_refused(source: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 100)

    def fail(progress: CopyProgress) -> None:
        if progress.step == "copy":
            raise Boom

    def copy_too(progress: CopyProgress) -> None:
        if progress.step == "copy":
            with pytest.raises(Boom):
                copy_store(source, dst, progress=fail)

    with pytest.raises(StoreBusyError, match="another copy_store writes to it"):
        copy_store(source, dst, progress=copy_too)
    copy_store(source, dst)
    assert rows(dst) == rows(source)


def test_a_name_alone_is_a_file_of_the_current_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is synced once the copy has its name; the name has none."""
    monkeypatch.chdir(source.parent)
    assert copy_store(source.name, "copy.db") == copy_store(source.name, "copy.db")
