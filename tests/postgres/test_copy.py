"""Copying a store from a file to PostgreSQL and back: as it is, whatever kills the copy."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from orchestrator.state_store import (
    CannotOpenError,
    CopyProgress,
    InvalidValueError,
    StateStore,
    StoreBusyError,
    copy_store,
    moment,
)

from tests import servers
from tests.copies import filled, finished, killed, rows
from tests.helpers import Boom, make_item


def schema_of(url: str) -> str:
    return url.rpartition("=")[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return filled(tmp_path / "source.db", 300, long=False)


def test_there_and_back_is_the_same(source: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(source)
    assert any("\0" in row[0] for table in before for row in table)
    assert any("\U0010ffff" in row[0] for table in before for row in table)
    for most_rows in (7, moment.MOST_ROWS):
        monkeypatch.setattr(moment, "MOST_ROWS", most_rows)
        there, again, back = f"{url}_{most_rows}", f"{url}_again_{most_rows}", tmp_path / f"{most_rows}.db"
        digests = {copy_store(src, dst).digest for src, dst in ((source, there), (there, again), (again, back))}
        assert len(digests) == 1
        assert rows(back) == before == rows(source)
        assert copy_store(source, again).digest in digests
        with StateStore(there) as store, StateStore(source) as original:
            faults = [{(f.table, f.id) for f in each.check() if f.kind == "json"} for each in (store, original)]
            assert faults[0] >= faults[1] != set()
            runs = original.count_runs()
            assert (store.count_runs(), store.count_intel_items()) == (runs, original.count_intel_items())
            store.start_run("new", "daily", {})
            store.upsert_intel_item(make_item("new", "new"))
            assert store.list_runs(limit=1)[0].run_id == "new", "what is new comes before what was copied"


def test_an_item_that_came_again_unchanged_did_so_in_the_copy_too(url: str, tmp_path: Path) -> None:
    with StateStore(url) as store:
        store.start_run("old", "daily", {})
        store.upsert_intel_items_batch([make_item("a", "old"), make_item("b", "old")])
        store.finish_run("old", "completed")
        with psycopg.connect(servers.shared(), autocommit=True, options=f"-c search_path={schema_of(url)}") as session:
            session.execute("UPDATE runs SET started_at = '2020', finished_at = '2020'")
            session.execute("UPDATE intel_items SET created_at = '2020'")
            store.start_run("new", "daily", {})
            store.upsert_intel_item(make_item("a", "new"))
            [(seen_at,)] = session.execute("SELECT seen_at FROM item_seen").fetchall()
    told: list[CopyProgress] = []
    there, back = f"{url}_there", tmp_path / "back.db"
    assert copy_store(url, there, progress=told.append) == copy_store(there, back)
    assert told[-1].bytes == told[-1].total_bytes
    for copy in (there, back):
        with StateStore(copy) as store:
            found = store.connection.execute("SELECT item_id, updated_at FROM intel_items ORDER BY item_id").fetchall()
            assert [tuple(row) for row in found] == [("a", seen_at), ("b", None)]
            assert store.prune(older_than=timedelta(days=1), dry_run=True).runs == 0


def test_killed_copy_goes_on(source: Path, url: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    rounds, most_rows = (20, 3) if pytestconfig.getoption("--full") else (5, 10)
    back = tmp_path / "back.db"
    for src, dst in ((str(source), url), (url, str(back))):
        reached = 0
        for seen in killed(src, dst, rounds, most_rows, 5):
            assert seen["first copy"] >= reached, "it began again"
            reached = seen["copy"]
            if dst == url:
                with pytest.raises(CannotOpenError, match="an unfinished copy: repeat copy_store, or drop the schema"):
                    StateStore(url)
        finished(src, dst, 5000)
    assert rows(back) == rows(source)
    assert copy_store(source, url) == copy_store(url, back)


def test_copy_is_of_one_moment(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 1)
    with StateStore(url) as store:
        for number in range(5):
            store.start_run(f"run {number}", "daily", {})

        def write(progress: CopyProgress) -> None:
            assert progress.rows <= 5
            store.start_run(f"{progress.step} {progress.rows}", "daily", {})

        assert copy_store(url, tmp_path / "copy.db", progress=write).runs == 5
        assert store.count_runs() == 20


def test_other_data_is_refused_untouched(source: Path, url: str) -> None:
    with StateStore(url) as store:
        store.start_run("other", "daily", {})
    with pytest.raises(CannotOpenError, match="holds something else than") as caught:
        copy_store(source, url)
    assert "\n" not in str(caught.value)
    with pytest.raises(CannotOpenError, match="is the store itself"):
        copy_store(url, url)
    with StateStore(url) as store:
        assert [run.run_id for run in store.list_runs()] == ["other"]


def test_store_without_rows_is_filled_and_keeps_its_grants(source: Path, url: str) -> None:
    StateStore(url).close()
    granted = f"SELECT has_table_privilege('pg_monitor', '{schema_of(url)}.runs', 'SELECT')"
    with psycopg.connect(servers.shared()) as session:
        session.execute(f"GRANT SELECT ON {schema_of(url)}.runs TO pg_monitor".encode())
    copy_store(source, url)
    with psycopg.connect(servers.shared()) as session:
        assert session.execute(granted.encode()).fetchall() == [(True,)]


def test_keys_that_no_index_holds_are_named_before_anything_is_copied(tmp_path: Path, url: str) -> None:
    dice = random.Random(1)
    random_id = "".join(map(chr, dice.choices(range(0x100, 0x3000), k=1500)))
    with StateStore(tmp_path / "source.db") as store:
        for run_id in ("run-1", "compressible" * 1000, random_id):
            store.start_run(run_id, "daily", {})
        store.upsert_intel_item(make_item(decision=random_id))
        store.upsert_intel_item(make_item("nul", decision="\0" * 2000))
    with pytest.raises(InvalidValueError, match="cannot hold some rows as they are, and nothing was copied") as caught:
        copy_store(tmp_path / "source.db", url)
    message = str(caught.value)
    assert message.count("index row") == 2, message
    assert "compressible" not in message
    assert "\n" not in message
    with StateStore(url) as store:
        assert store.count_runs() == 0


def test_two_copies_at_once_are_refused(source: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "MOST_ROWS", 100)

    def fail(progress: CopyProgress) -> None:
        if progress.step == "copy":
            raise Boom

    def copy_too(progress: CopyProgress) -> None:
        if progress.step == "copy":
            with pytest.raises(Boom):
                copy_store(source, url, progress=fail)

    with pytest.raises(StoreBusyError, match="another copy_store writes to it"):
        copy_store(source, url, progress=copy_too)
    copy_store(source, url)


def test_password_is_in_no_message_of_a_copy(source: Path) -> None:
    for src, dst in (
        (source, "postgresql://me:secret@127.0.0.1:1/db"),
        ("postgresql://me:secret@127.0.0.1:1/db", source),
    ):
        with pytest.raises(CannotOpenError) as caught:
            copy_store(src, dst)
        assert "secret" not in str(caught.value)
