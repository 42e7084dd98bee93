"""list_runs() and count_runs(): filters, order, pages, and cursors that are refused."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import (
    InvalidTypeError,
    InvalidValueError,
    Page,
    RunRecord,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.paging import in_pages, time
from tests.helpers import TIMEOUT, Boom, Peer, in_thread, in_threads
from tests.programs import writers

TYPES = ["daily", "weekly", "rare"]
STATUSES = ["running", "completed", "failed", "partial"]


def made(number: int) -> dict[str, Any]:
    """Return a run: many start at one time, and their order is not that in which they are recorded."""
    return {
        "run_id": f"run-{number}",
        "run_type": "rare" if number % 50 == 7 else TYPES[number % 2],
        "started_at": time(number * 7 % 40 // 4 + (0.5 if number % 3 == 0 else 0)),
        "status": STATUSES[number % 5 % 4],
        "settings_snapshot_json": json.dumps({"number": number}),
    }


RUNS = [made(number) for number in range(200)]
NEWEST_FIRST = RUNS[::-1]
"""The last recorded first; their times are those of a clock that is set back again and again."""


def ids(runs: list[RunRecord]) -> list[str]:
    return [run.run_id for run in runs]


def paged(store: StateStore, limit: int, **filters: Any) -> list[str]:
    return ids([*in_pages(store.list_runs, limit, **filters)])


@pytest.fixture(scope="module")
def many(new_lasting: Callable[[], Engine]) -> Iterator[StateStore]:
    engine = new_lasting()
    engine.open().close()
    engine.add("runs", RUNS)
    with engine.open() as store:
        yield store


times = st.none() | st.integers(-1, 11).map(float) | st.sampled_from([2.5, 3.000001])


@given(
    st.none() | st.sampled_from(["", "run-", "run-1", "run-19", "run-199", "run-1%", "run_", "un", "s"]),
    st.none() | st.sampled_from([*TYPES, "unknown"]),
    st.none() | st.lists(st.sampled_from([*STATUSES, "unknown"]), max_size=5),
    times,
    times,
    st.integers(1, 70),
    st.sampled_from(["newest", "oldest"]),
)
def test_filters_let_through_what_they_say_in_pages_too(
    many: StateStore,
    prefix: str | None,
    run_type: str | None,
    status: list[str] | None,
    since: float | None,
    until: float | None,
    limit: int,
    order: Any,
) -> None:
    expected = [
        run["run_id"]
        for run in NEWEST_FIRST
        if run["run_id"].startswith(prefix or "")
        and run_type in (None, run["run_type"])
        and (status is None or run["status"] in status)
        and (since is None or run["started_at"] >= time(since))
        and (until is None or run["started_at"] < time(until))
    ]
    filters: dict[str, Any] = {
        "run_id_prefix": prefix,
        "run_type": run_type,
        "status": status,
        "since": since if since is None else time(since),
        "until": until if until is None else time(until),
    }
    assert many.count_runs(**filters) == len(expected)
    if order == "oldest":
        expected.reverse()
    whole = many.list_runs(**filters, order=order)
    assert ids(whole) == expected
    assert whole.next_cursor is None
    assert paged(many, limit, **filters, order=order) == expected


def test_newest_come_first_and_of_one_time_those_recorded_last(many: StateStore) -> None:
    assert ids(many.list_runs()) == [run["run_id"] for run in NEWEST_FIRST]
    assert len({run["started_at"] for run in RUNS}) < len(RUNS) / 5


def test_prefix_of_a_run_id_is_exact(store: StateStore) -> None:
    """LIKE and GLOB take some characters for others, and the highest one has none behind it."""
    names = ["a", "a%b", "axb", "a_b", "a*b", "A", "a\0", "a\U0010ffff", "a\U0010ffffb", "b", "\U0010ffff", "\ue000"]
    with store.transaction():
        for name in names:
            store.start_run(name, "daily", {})
    for prefix in [*names, "a\U0010ffff\U0010ffff", "\ud7ff"]:
        expected = [name for name in names if name.startswith(prefix)]
        assert ids(store.list_runs(run_id_prefix=prefix)) == expected[::-1]
        assert store.count_runs(run_id_prefix=prefix, run_type="daily") == len(expected)
    assert ids(store.list_runs(run_id_prefix="")) == [*names[::-1], "run-1"]


def test_page_that_is_just_full_has_no_cursor_when_nothing_is_left(many: StateStore) -> None:
    for limit in (199, 200, 201, 2**64, 10**30):
        page = many.list_runs(limit=limit)
        assert (len(page), page.next_cursor is None) == (min(limit, 200), limit >= 200)


@pytest.mark.parametrize("kind", [list, tuple, set, iter, dict.fromkeys])
def test_status_may_be_one_or_any_iterable(many: StateStore, kind: Callable[[list[str]], Any]) -> None:
    both = kind(["failed", "partial"])
    expected = [run["run_id"] for run in NEWEST_FIRST if run["status"] in ("failed", "partial")]
    assert ids(many.list_runs(status=both)) == expected
    assert many.list_runs(status="failed") == many.list_runs(status=kind(["failed"]))
    assert many.list_runs(status=kind([])) == []
    assert many.count_runs(status=kind([])) == 0


def test_status_of_many_values_is_merged(many: StateStore) -> None:
    statuses = [f"unknown-{number}" for number in range(1000)]
    assert ids(many.list_runs(status=[*statuses, *STATUSES], limit=9)) == ids(many.list_runs(limit=9))
    assert many.count_runs(status=[*statuses, *STATUSES]) == 200


@pytest.mark.parametrize(
    "since",
    [
        "2026-01-01T00:00:05+00:00",
        "2026-01-01T00:00:05Z",
        "2026-01-01T02:30:05.000000+02:30",
        datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC),
        datetime(2025, 12, 31, 19, 0, 5, tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=str,
)
def test_one_point_in_time_is_the_same_however_it_is_written(many: StateStore, since: datetime | str) -> None:
    late = [run["run_id"] for run in NEWEST_FIRST if run["started_at"] >= time(5)]
    assert ids(many.list_runs(since=since)) == late
    assert ids(many.list_runs(until=since)) == [run["run_id"] for run in NEWEST_FIRST if run["run_id"] not in late]
    assert many.count_runs(since=since) + many.count_runs(until=since) == 200


@pytest.mark.parametrize(
    ("error", "name", "wrong"),
    [
        (InvalidValueError, "since", datetime(2026, 1, 1)),
        (InvalidValueError, "until", "2026-01-01T00:00:00"),
        (InvalidValueError, "since", "yesterday"),
        (InvalidTypeError, "until", 1.5),
        (InvalidTypeError, "run_id_prefix", 5),
        (InvalidValueError, "run_id_prefix", "\ud800"),
        (InvalidTypeError, "run_type", 5),
        (InvalidValueError, "run_type", "\ud800"),
        (InvalidTypeError, "status", 5),
        (InvalidTypeError, "status", b"failed"),
        (InvalidTypeError, "status", ["failed", None]),
        (InvalidValueError, "status", ["\ud800"]),
        (InvalidValueError, "order", "best"),
        (InvalidTypeError, "order", None),
        (InvalidTypeError, "limit", True),
        (InvalidTypeError, "limit", 1.0),
        (InvalidValueError, "limit", 0),
        (InvalidValueError, "limit", -(10**30)),
        (InvalidTypeError, "cursor", 5),
    ],
)
def test_wrong_arguments_are_refused_by_name(many: StateStore, error: type[Exception], name: str, wrong: Any) -> None:
    with pytest.raises(error, match=rf"^list_runs: .*{name}") as caught:
        many.list_runs(**{name: wrong})
    assert "\n" not in str(caught.value)
    if name not in ("limit", "cursor", "order"):
        with pytest.raises(error, match=rf"^count_runs: .*{name}"):
            many.count_runs(**{name: wrong})


def test_filters_are_keywords_only(many: StateStore) -> None:
    with pytest.raises(TypeError):
        many.list_runs("daily")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        many.count_runs("daily")  # type: ignore[call-arg]


def test_error_of_a_status_iterable_passes_on(many: StateStore) -> None:
    def failing() -> Iterator[str]:
        yield "failed"
        raise Boom

    class Failing:
        def __iter__(self) -> Iterator[str]:
            raise Boom

    for status in (failing(), Failing()):
        with pytest.raises(Boom):
            many.list_runs(status=status)


FILTERS: list[dict[str, Any]] = [
    {},
    {"run_id_prefix": "run-"},
    {"run_id_prefix": "run-1"},
    {"run_type": "daily"},
    {"run_type": "weekly"},
    {"status": "completed"},
    {"status": ["completed", "failed"]},
    {"status": ["completed failed"]},
    {"since": time(1)},
    {"until": time(9)},
    {"since": time(1), "until": time(9)},
    {"run_type": "daily", "status": "completed"},
]


def cursor_of(store: StateStore, **filters: Any) -> str:
    cursor = store.list_runs(limit=1, **filters).next_cursor
    assert cursor is not None
    assert cursor.isascii()
    assert cursor.isalnum()
    return cursor


def test_cursor_of_other_filters_is_refused(many: StateStore) -> None:
    for mine, other in itertools.permutations(FILTERS, 2):
        if mine.get("status") == ["completed failed"]:
            continue
        with pytest.raises(InvalidValueError, match=r"^list_runs: the cursor belongs to another list"):
            many.list_runs(cursor=cursor_of(many, **mine), **other)


def test_cursor_is_of_the_filters_and_not_of_how_they_are_written(many: StateStore) -> None:
    first = many.list_runs(status=["failed", "partial"], since="2026-01-01T00:00:01Z", limit=4)
    rest = many.list_runs(
        status=iter(["partial", "failed", "partial"]),
        since=datetime(2026, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1))),
        cursor=first.next_cursor,
    )
    assert [*first, *rest] == many.list_runs(status=["failed", "partial"], since=time(1))


def test_cursor_of_the_other_order_is_refused_by_name(many: StateStore) -> None:
    """It would begin to repeat what was there, or leave out what was not."""
    orders: list[Any] = ["newest", "oldest"]
    for mine, other in (orders, orders[::-1]):
        cursor = cursor_of(many, order=mine, run_type="daily")
        message = rf'^list_runs: the cursor belongs to this list with order="{mine}", not "{other}"'
        with pytest.raises(InvalidValueError, match=message):
            many.list_runs(cursor=cursor, order=other, run_type="daily")
        with pytest.raises(InvalidValueError, match=r"^list_runs: the cursor belongs to another list"):
            many.list_runs(cursor=cursor, order=other)
    assert cursor_of(many) == cursor_of(many, order="newest")


def test_cursor_of_another_store_is_refused(new_engine: Callable[[], Engine]) -> None:
    with new_engine().open() as store, new_engine().open() as other:
        for each in (store, other):
            for number in range(3):
                each.start_run(f"run-{number}", "daily", {})
        for mine, theirs in ((store, other), (other, store)):
            with pytest.raises(InvalidValueError, match=r"^list_runs: the cursor belongs to another"):
                mine.list_runs(cursor=cursor_of(theirs))


def test_cursor_outlives_the_store_that_gave_it(lasting: Engine) -> None:
    with lasting.open() as store:
        for number in range(3):
            store.start_run(f"run-{number}", "daily", {})
        cursor = cursor_of(store)
    with lasting.open(read_only=True) as store:
        assert ids(store.list_runs(cursor=cursor)) == ["run-1", "run-0"]


@given(st.data())
def test_cursor_that_was_changed_is_refused(many: StateStore, data: st.DataObject) -> None:
    cursor = list(cursor_of(many, run_type="daily"))
    places = data.draw(st.sets(st.integers(0, len(cursor) - 1), min_size=1, max_size=5))
    for place in places:
        cursor[place] = data.draw(st.characters(exclude_characters=cursor[place], exclude_categories=["Cs"]))
    with pytest.raises(InvalidValueError, match=r"^list_runs: the cursor is invalid or was changed"):
        many.list_runs(run_type="daily", cursor="".join(cursor))


@given(st.text())
def test_text_that_is_no_cursor_is_refused(many: StateStore, text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^list_runs: .*cursor"):
        many.list_runs(cursor=text)


def test_pages_have_each_run_once_while_threads_and_a_process_write(lasting: Engine) -> None:
    before = [f"before-{number}" for number in range(300)]
    done = threading.Event()
    with lasting.open(**lasting.quick) as store:
        with store.transaction():
            for run_id in before:
                store.start_run(run_id, "daily", {})

        def write(thread: int) -> None:
            for number in itertools.count():
                store.start_run(f"{thread}-{number}", "daily", {})
                store.finish_run(f"{thread}-{number}", "completed")
                store.finish_run(before[number % 300], "failed", f"touched by {thread}")
                if done.is_set():
                    return

        def read() -> None:
            try:
                for limit in (7, 50, 299, 300, 301, 11) * 3:
                    found = paged(store, limit, run_type="daily")
                    assert len(found) == len(set(found))
                    assert [run_id for run_id in found if run_id.startswith("before")] == before[::-1]
                    assert paged(store, limit, status=("running", "failed"), until=last) == before[::-1]
            finally:
                done.set()

        last = datetime.now(UTC)
        with Peer(writers.start_and_finish_runs, lasting.location) as peer:
            assert peer.hear() == "ready"
            in_threads([read, lambda: write(1), lambda: write(2)])
            peer.tell()
            assert peer.result() > 0


@pytest.mark.usefixtures("concurrent")
def test_transaction_sees_its_own_runs_and_others_do_not(store: StateStore) -> None:
    with store.transaction():
        store.start_run("run-2", "daily", {})
        store.finish_run("run-1", "completed")
        assert ids(store.list_runs()) == ["run-2", "run-1"]
        assert paged(store, 1, status=["running", "completed"]) == ["run-2", "run-1"]
        assert store.count_runs(status="running") == 1
        assert in_thread(paged, store, 1) == ["run-1"]
        assert in_thread(store.count_runs, status="completed") == 0
        assert in_thread(store.get_run, "run-2") is None


def test_runs_of_a_store_that_was_empty(engine: Engine) -> None:
    with engine.open() as store:
        assert store.list_runs(limit=5) == []
        assert store.list_runs(limit=5).next_cursor is None
        assert store.count_runs() == 0
        for number in range(7):
            store.start_run(f"run-{number}", "daily", {})
        assert paged(store, 2) == [f"run-{number}" for number in range(6, -1, -1)]


def test_run_that_a_prune_has_taken_is_not_there(lasting: Engine) -> None:
    with lasting.open() as store:
        for run_id in ("run-1", "run-2", "run-3"):
            store.start_run(run_id, "daily", {})
            store.write_telemetry(run_id, run_id)
    lasting.edit("runs", {"run_id": "run-2"}, pruned_at="now")
    with lasting.open() as store:
        assert store.get_run("run-2") is None
        assert store.get_telemetry("run-2") is None
        assert store.get_telemetry("run-3") == "run-3"
        assert paged(store, 1) == ["run-3", "run-1"]
        assert store.count_runs() == store.count_runs(status="running", run_type="daily") == 2


def test_page_is_a_list(many: StateStore) -> None:
    page = many.list_runs(limit=3)
    assert isinstance(page, list)
    assert page == list(page)
    assert Page([1, 2]).next_cursor is None
    assert Page([1], "c").next_cursor == "c"


def test_list_waits_for_nobody(lasting: Engine) -> None:
    """A reader gets its answer while another thread holds the writer."""
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
        entered, read = threading.Event(), threading.Event()

        def hold() -> None:
            with store.transaction():
                store.start_run("run-2", "daily", {})
                entered.set()
                assert read.wait(TIMEOUT)

        def look() -> list[str]:
            assert entered.wait(TIMEOUT)
            found = paged(store, 1)
            read.set()
            return found

        assert in_threads([hold, look])[1] == ["run-1"]
