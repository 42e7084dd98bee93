"""Batches and lists: how often they wait for the server, what they cost it, and that they wait for no other."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from orchestrator.state_store import InvalidTypeError, RunNotFoundError, StateStore
from orchestrator.state_store._postgres import migrations
from orchestrator.state_store._postgres.calls import upkeep
from orchestrator.state_store._postgres.pipeline import Abandoned, Statement, pipelined

from benches.items import MADE_UP, make_items
from benches.proxy import Proxy
from tests import servers
from tests.conformance.seen import assert_sound
from tests.helpers import TIMEOUT, in_threads, item_ids, make_item
from tests.postgres.conftest import waiting_sessions

MB = 1 << 20


@contextmanager
def counted(url: str) -> Iterator[tuple[StateStore, Callable[[], int]]]:
    """Open a store through a proxy, with what says how often it has waited since it was last asked."""
    options = parse_qs(urlsplit(url).query)
    last = 0
    with Proxy(int(options["port"][0]), 0) as proxy:
        where = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable&schema={options['schema'][0]}"
        with StateStore(where) as store:

            def waits() -> int:
                nonlocal last
                before, last = last, proxy.waits()
                return last - before

            yield store, waits


def test_calls_wait_for_the_server_once(url: str) -> None:
    batch = make_items(MADE_UP, "run-1", 2_500)
    where = {"scores_json.total": (">=", 0)}
    with counted(url) as (store, waits):
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("opens the sessions"))
        item_ids(store)
        calls: dict[str, Callable[[], object]] = {
            "one": lambda: store.upsert_intel_item(make_item("a")),
            "batch": lambda: store.upsert_intel_items_batch(batch),
            "decide": lambda: store.decide("a", "watch"),
            "delete": lambda: store.delete_intel_item("a"),
            "list": lambda: store.list_intel_items_for_run("run-1"),
            "where": lambda: store.list_intel_items(where=where),
            "page": lambda: store.list_intel_items(where=where, limit=50),
            "count": lambda: store.count_intel_items(where=where),
        }
        for name, call in calls.items():
            waits()
            call()
            assert (name, waits()) == (name, 1)
        with store.transaction():
            waits()
            store.upsert_intel_item(make_item("b"))
            assert waits() == 1
            store.upsert_intel_items_batch(batch)
            assert waits() == 1
            with pytest.raises(RunNotFoundError):
                store.upsert_intel_items_batch([*batch, make_item("c", "missing")])
            store.upsert_intel_item(make_item("d"))
        assert len(item_ids(store)) == 2_503


@pytest.mark.parametrize("good", range(3, 8))
def test_session_takes_batches_after_some_were_refused(url: str, good: int, caplog: pytest.LogCaptureFixture) -> None:
    """What has come so often is prepared by psycopg, also in a pipeline that has failed before the server reads it."""
    batch = [make_item(f"{number}") for number in range(600)]
    with StateStore(url, pool_size=1) as store:
        store.start_run("run-1", "daily", {})
        for times in (0, good):
            for _ in range(times):
                store.upsert_intel_items_batch(batch)
            with pytest.raises(RunNotFoundError):
                store.upsert_intel_items_batch([*batch, make_item("z", "missing")])
        store.upsert_intel_items_batch(batch)
        store.merge_telemetry("run-1", {"a": 1})
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            with pytest.raises(RunNotFoundError):
                store.upsert_intel_items_batch([*batch, make_item("z", "missing")])
    assert caplog.records == []


@pytest.mark.parametrize("runs", [1, 30])
@pytest.mark.parametrize("run_id", [None, "run-1"])
def test_page_reads_no_more_than_its_items(url: str, runs: int, run_id: str | None) -> None:
    schema = url.rpartition("=")[2]
    with StateStore(url, pool_size=1) as store, psycopg.connect(servers.shared(), autocommit=True) as session:
        for number in range(1, runs + 1):
            store.start_run(f"run-{number}", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{number}", f"run-{number % runs + 1}") for number in range(9_000))
        session.execute(f"ANALYZE {schema}.intel_items, {schema}.runs".encode())

        def rows_read() -> int:
            store.connection.execute("SELECT pg_stat_force_next_flush()")
            sql = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relid = %s::regclass"
            [(count,)] = session.execute(sql, [f"{schema}.intel_items"]).fetchall()
            return int(count)

        before = rows_read()
        assert len(store.list_intel_items(run_id=run_id, limit=10)) == 10
        assert 10 <= rows_read() - before < 200


def test_prune_reads_an_item_a_few_times(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It deletes a run in slices; to look at all that is left for each would take long where a run is large."""
    schema = url.rpartition("=")[2]
    monkeypatch.setattr(upkeep, "_SLICE_ITEMS", 100)
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        with StateStore(url) as store:
            store.start_run("run-1", "daily", {})
            store.upsert_intel_items_batch(make_item(f"{number * 7 % 9_000}") for number in range(9_000))
            session.execute(f"ANALYZE {schema}.intel_items, {schema}.runs".encode())
            store.finish_run("run-1", "completed")
            assert store.prune(older_than=0).intel_items == 9_000
        sql = "SELECT n_tup_del, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relid = %s::regclass"
        deleted = read = 0
        while deleted < 9_000:
            # A session tells at its end.
            [(deleted, read)] = session.execute(sql, [f"{schema}.intel_items"]).fetchall()
    assert read < 100_000


def test_a_condition_is_looked_for_until_the_list_is_full(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(f"{number:05}", scores_json={"n": number}) for number in range(13_000))

    def ids(limit: int, cursor: str | None = None, **wanted: int) -> tuple[list[str], str | None]:
        where = {"scores_json.n": (">=", wanted["least"])}
        page = store.list_intel_items(where=where, limit=limit, cursor=cursor, order="oldest")
        return [item["item_id"] for item in page], page.next_cursor

    for least, limit in ((0, 3), (1_999, 1), (1_999, 2), (2_000, 2), (12_500, 100), (12_999, 5), (13_000, 1)):
        expected = [f"{number:05}" for number in range(least, min(least + limit, 13_000))]
        found, cursor = ids(limit, least=least)
        assert found == expected
        assert (cursor is None) == (least + limit >= 13_000)
    found, cursor = ids(500, least=12_400)
    assert ids(500, cursor, least=12_400) == ([f"{number}" for number in range(12_900, 13_000)], None)
    pages = store.iter_intel_items(where={"scores_json.n": (">=", 11_990)})
    assert sum(1 for _ in pages) == 1_010


def test_a_batch_that_is_refused_leaves_nothing(store: StateStore) -> None:
    items = [make_item(f"{number:04}") for number in range(1_200)]
    store.upsert_intel_items_batch(items[:1])
    wrong = [*items[1:700], make_item("x", "missing"), *items[700:], make_item("y", "missing")]
    with pytest.raises(
        RunNotFoundError, match=r'^upsert_intel_items_batch: item 699 \("x"\): there is no run "missing"'
    ):
        store.upsert_intel_items_batch(wrong)
    assert item_ids(store) == ["0000"]
    store.upsert_intel_items_batch(items)
    assert_sound(store)


def test_order_of_recording_is_that_of_the_batch(store: StateStore) -> None:
    names = [f"{number * 7919 % 2_000:04}" for number in range(2_000)]
    store.upsert_intel_items_batch(make_item(name) for name in [*names, names[5]])
    assert item_ids(store) == names


def test_what_comes_again_unchanged_is_not_written(store: StateStore, url: str) -> None:
    items = [make_item(f"{number:04}") for number in range(1_200)]
    store.upsert_intel_items_batch(items)
    rows, aged = "SELECT ctid, xmin, xmax FROM intel_items ORDER BY seq", "UPDATE intel_items SET created_at = '2020'"
    with psycopg.connect(servers.shared(), autocommit=True, options=f"-c search_path={schema(url)}") as session:

        def noted() -> list[tuple[int, int]]:
            return session.execute("SELECT count(*), count(DISTINCT item_id) FROM item_seen").fetchall()

        before = session.execute(rows.encode()).fetchall()
        store.upsert_intel_items_batch(items)
        assert (session.execute(rows.encode()).fetchall(), noted()) == (before, [(0, 0)])
        session.execute(aged.encode())
        before = session.execute(rows.encode()).fetchall()
        for _ in range(3):
            store.upsert_intel_items_batch(items)
            store.upsert_intel_item(items[0])
            assert (session.execute(rows.encode()).fetchall(), noted()) == (before, [(1_200, 1_200)])
        session.execute("UPDATE item_seen SET seen_at = '2021'")
        store.upsert_intel_items_batch(items)
        assert session.execute("SELECT count(*) FROM item_seen WHERE seen_at > '2025'").fetchall() == [(1_200,)]
        assert noted() == [(1_200, 1_200)]


def schema(url: str) -> str:
    return parse_qs(urlsplit(url).query)["schema"][0]


def test_opposite_batches_do_not_wait_for_each_other_in_a_circle(
    store: StateStore, url: str, pytestconfig: pytest.Config
) -> None:
    names = [f"{number:04}" for number in range(1_000)]
    store.upsert_intel_items_batch(make_item(name) for name in names)
    rounds = 100 if pytestconfig.getoption("--full") else 10
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(servers.shared(), autocommit=True, options=f"-c search_path={schema(url)}") as session:
        before = session.execute(sql.encode()).fetchall()

        def write(worker: int, number: int) -> None:
            # Each sees the first items again and changes the last; its chunks end elsewhere than those of the others.
            batch = [
                make_item(name, title="title" if name < "0500" else f"{worker} {number}")
                for name in names[worker * 100 :]
            ]
            store.upsert_intel_items_batch(batch if worker % 2 else batch[::-1])

        for number in range(rounds):
            session.execute("UPDATE intel_items SET created_at = '2020', updated_at = NULL")
            session.execute("UPDATE item_seen SET seen_at = '2020'")
            in_threads([partial(write, worker, number) for worker in range(4)])
        assert session.execute("SELECT pg_stat_force_next_flush()").fetchall()
        assert session.execute(sql.encode()).fetchall() == before
    assert len(item_ids(store)) == 1_000


def test_a_store_of_an_earlier_version_is_brought_up_to_date(url: str) -> None:
    name, folder = schema(url), Path(migrations.__file__).parent
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        session.execute(f"CREATE SCHEMA {name}".encode())
        for file in ("schema.sql", "functions.sql"):
            text = (folder / file).read_text(encoding="utf-8").replace("{schema}", name)
            session.execute(text.encode())
        session.execute(f"UPDATE {name}.store_identity SET schema_version = 1".encode())
    with StateStore(url) as store:
        assert store.stats().schema_version == migrations.VERSION
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a"))
        assert_sound(store)


@contextmanager
def watched_memory(name: str) -> Iterator[list[int]]:
    """Watch the most memory that the sessions of an application have had to themselves."""
    most, over = [0], threading.Event()
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"

    def watch() -> None:
        with psycopg.connect(servers.shared(), autocommit=True) as session:
            while not over.wait(0.02):
                for (pid,) in session.execute(sql, [name]).fetchall():
                    # One that asks what another does is soon gone.
                    with suppress(FileNotFoundError, ProcessLookupError):
                        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
                        size = next(int(line.split()[1]) << 10 for line in lines if line.startswith("Anonymous:"))
                        most[0] = max(most[0], size)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        over.set()
        watching.join()


def test_a_large_batch_takes_little_memory_of_the_server(url: str, pytestconfig: pytest.Config) -> None:
    count = 60_000 if pytestconfig.getoption("--full") else 10_000
    with StateStore(f"{url}&application_name={schema(url)}") as store, watched_memory(schema(url)) as most:
        store.start_run("run-1", "daily", {})
        for revision in (0, 0, 1):
            store.upsert_intel_items_batch(make_items(MADE_UP, "run-1", count, revision=revision))
        assert store.count_intel_items() == count
    print(f"MB: {most[0] / MB:.1f}")
    assert 0 < most[0] <= 64 * MB


def test_chunks_are_not_made_ahead_of_the_server() -> None:
    """What waits to be sent is moved in memory with each part that is: a batch of 1.5 GB would not end."""
    with psycopg.connect(servers.shared(), autocommit=True) as session, psycopg.connect(servers.shared()) as other:
        sql = "SELECT query FROM pg_stat_get_activity(%s)"

        def statements() -> Iterator[Statement]:
            for number in range(10):
                yield f"SELECT {number} FROM pg_sleep(0.1), length(%s)".encode(), ["x" * 5 * MB]
            [(query,)] = other.execute(sql, [session.info.backend_pid]).fetchall()
            assert int(query.split()[1]) >= 6

        assert pipelined(session, b"BEGIN", statements(), b"COMMIT") == [(0,)]


def test_a_chunk_is_with_the_server_before_the_next_one_is_made() -> None:
    """So that the server works on it meanwhile."""
    url = servers.shared()
    with psycopg.connect(url, autocommit=True) as session, psycopg.connect(url, autocommit=True) as other:
        sql = "SELECT application_name FROM pg_stat_activity WHERE pid = %s"

        def statements() -> Iterator[Statement]:
            for number in "123":
                yield b"SELECT set_config('application_name', %s, false), length(%s)", [number, "x" * 5 * MB]
                limit = time.monotonic() + TIMEOUT
                while other.execute(sql, [session.info.backend_pid]).fetchall() != [(number,)]:
                    assert time.monotonic() < limit, "it waits for the rest of the chunk"

        assert pipelined(session, b"BEGIN", statements(), b"COMMIT") == [("1", 5 * MB)]


def test_what_the_server_says_is_told_although_the_rest_could_not_be_made() -> None:
    """Of a lock that was not had in time: the batch would wait as long again."""

    def statements() -> Iterator[Statement]:
        yield b"SELECT 1/%s", [0]
        raise Abandoned

    with psycopg.connect(servers.shared(), autocommit=True) as session:
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipelined(session, b"BEGIN", statements(), b"COMMIT")
        session.execute(b"ROLLBACK")
        assert session.execute("SELECT 1").fetchall() == [(1,)]


def test_items_that_another_thread_changes_are_not_mixed(url: str) -> None:
    """It has the batch wait: when its first chunk has gone, the rest has not been read."""
    with StateStore(url) as store, StateStore(url) as other:
        store.start_run("run-1", "daily", {})
        items = [make_item(f"{number:04}", title=f"{number:04}") for number in range(3_000)]
        entered = threading.Event()

        def change() -> None:
            with other.transaction():
                entered.set()
                while waiting_sessions() == 0:
                    time.sleep(0.01)
                for item in items:
                    item["item_id"] = item["title"] = f"new {item['title']}"

        def write() -> None:
            assert entered.wait(TIMEOUT)
            store.upsert_intel_items_batch(items)

        in_threads([change, write])
        assert {item["item_id"] == item["title"] for item in store.list_intel_items()} == {True}
        assert store.count_intel_items() == 3_000


def test_where_one_unusual_item_came_batches_are_encoded_first(url: str) -> None:
    """The server would write much of each batch twice, and undo it once."""
    name = schema(url)
    sql = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE schemaname = %s AND relname = 'intel_items'"
    with StateStore(url) as store:
        store.start_run("run-1", "daily", {})
        for part in "abc":
            scores = [math.nan if number == 1_999 else 1 for number in range(2_000)]
            batch = [make_item(f"{part}{number:04}", scores_json=score) for number, score in enumerate(scores)]
            store.upsert_intel_items_batch(batch)
    limit = time.monotonic() + TIMEOUT
    with psycopg.connect(servers.shared(), autocommit=True) as session:
        while (written := session.execute(sql, [name]).fetchall()[0][0]) < 6_000:
            assert time.monotonic() < limit
    assert 6_000 <= written < 8_000


def test_error_of_a_batch_that_was_encoded_anew_has_no_context(store: StateStore) -> None:
    batch = [make_item(f"{number}") for number in range(1_000)]
    batch[900]["claims_json"] = {1, 2}
    with pytest.raises(InvalidTypeError, match=r"\b900\b") as caught:
        store.upsert_intel_items_batch(batch)
    assert not isinstance(caught.value.__context__, Abandoned)
    assert store.count_intel_items() == 0


def test_a_batch_of_several_megabytes_an_item_is_written(url: str, pytestconfig: pytest.Config) -> None:
    count = 300 if pytestconfig.getoption("--full") else 6
    text = "x" * 5 * MB
    with StateStore(f"{url}&application_name={schema(url)}") as store, watched_memory(schema(url)) as most:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(make_item(f"{number}", summary=text) for number in range(count))
        assert store.count_intel_items() == count
        item = store.get_intel_item("5")
        assert item is not None
        assert item["summary"] == text
    assert 0 < most[0] <= 128 * MB
