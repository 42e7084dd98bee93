"""get_intel_item(), list_intel_items() and count_intel_items(): filters, order, pages, fields, refused cursors."""

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
    IntelItem,
    InvalidTypeError,
    InvalidValueError,
    StateStore,
)

from tests.conformance.conftest import Engine, examples
from tests.conformance.paging import RUNS, in_pages, optional, time, with_items
from tests.helpers import ITEM_KEYS, Boom, in_thread, in_threads, make_item, put

TYPES = ["note", "paper", ""]
DECISIONS = [None, "promote", "block", ""]
COLUMNS = [
    *("item_id", "run_id", "item_type", "title", "summary", "claims_json", "evidence_json", "scores_json"),
    *("risk_flags_json", "explainability_json", "decision", "decision_reason", "created_at"),
]


def made(number: int) -> dict[str, Any]:
    """Return an item: many come at one time, and their order is not that in which they are recorded."""
    return {
        **make_item(f"item-{number}", RUNS[number % 7 % 3], title=f"é {number}"),
        **dict.fromkeys(("claims_json", "evidence_json", "risk_flags_json", "explainability_json"), "[]"),
        "item_type": TYPES[number % 5 % 3],
        "scores_json": json.dumps({"total": number % 10}),
        "decision": DECISIONS[number % 11 % 4],
        "decision_reason": None,
        "created_at": time(number * 7 % 40 // 4 + (0.5 if number % 3 == 0 else 0)),
    }


ITEMS = [made(number) for number in range(300)]
OLDEST_FIRST = ITEMS
"""In the order of recording; their times are those of a clock that is set back again and again."""

THERE = [item["item_id"] for item in OLDEST_FIRST if item["run_id"] != "pruned"]


def ids(items: list[IntelItem]) -> list[str]:
    return [item["item_id"] for item in items]


def paged(store: StateStore, limit: int, **filters: Any) -> list[str]:
    return ids([*in_pages(store.list_intel_items, limit, **filters)])


@pytest.fixture(scope="module")
def many(new_lasting: Callable[[], Engine]) -> Iterator[StateStore]:
    yield from with_items(new_lasting(), ITEMS)


@examples(400)
@given(
    optional("run-1", "run-2", "pruned", "unknown"),
    optional(*TYPES, "unknown"),
    optional(*DECISIONS[1:], "unknown", True, False),
    optional(0, 3, 2.5, 3.000001, 11),
    optional(0, 3, 2.5, 9, 11),
    optional(5, 9, 10),
    st.integers(1, 70),
    st.sampled_from(["oldest", "newest"]),
)
def test_filters_let_through_what_they_say_in_pages_too(
    many: StateStore,
    run_id: str | None,
    item_type: str | None,
    decided: str | bool | None,
    since: float | None,
    until: float | None,
    total: int | None,
    limit: int,
    order: Any,
) -> None:
    filters: dict[str, Any] = {
        "run_id": run_id,
        "item_type": item_type,
        "undecided" if isinstance(decided, bool) else "decision": decided,
        "since": since if since is None else time(since),
        "until": until if until is None else time(until),
        "where": None if total is None else {"scores_json.total": ("<", total)},
    }
    expected = [
        item["item_id"]
        for item in OLDEST_FIRST
        if item["run_id"] != "pruned"
        and run_id in (None, item["run_id"])
        and item_type in (None, item["item_type"])
        and (decided is None or decided == (item["decision"] is None if decided in (True, False) else item["decision"]))
        and (since is None or item["created_at"] >= time(since))
        and (until is None or item["created_at"] < time(until))
        and (total is None or json.loads(item["scores_json"])["total"] < total)
    ]
    assert many.count_intel_items(**filters) == len(expected)
    if order == "newest":
        expected.reverse()
    whole = many.list_intel_items(**filters, order=order)
    assert ids(whole) == expected
    assert whole.next_cursor is None
    assert paged(many, limit, **filters, order=order) == expected
    assert [item["item_id"] for item in many.iter_intel_items(**filters, order=order)] == expected


def test_oldest_come_first_and_of_one_time_those_recorded_first(many: StateStore) -> None:
    assert ids(many.list_intel_items()) == THERE
    assert len({item["created_at"] for item in ITEMS}) < len(ITEMS) / 5


def test_items_are_as_the_list_of_a_run_has_them(many: StateStore) -> None:
    assert many.list_intel_items(run_id="run-1") == many.list_intel_items_for_run("run-1")
    for item in many.list_intel_items():
        assert set(item) == ITEM_KEYS
        assert many.get_intel_item(item["item_id"]) == item


def test_page_that_is_just_full_has_no_cursor_when_nothing_is_left(many: StateStore) -> None:
    size = len(THERE)
    for limit in (size - 1, size, size + 1, 2**64, 10**30):
        page = many.list_intel_items(limit=limit)
        assert (len(page), page.next_cursor is None) == (min(limit, size), limit >= size)
    last = [item["item_id"] for item in OLDEST_FIRST if item["item_id"] in THERE and item["decision"] == "block"]
    page = many.list_intel_items(decision="block", limit=len(last))
    assert (ids(page), page.next_cursor) == (last, None)


@pytest.mark.parametrize("limit", [511, 512, 513, 700, 2999, 3000])
def test_long_pages_are_whole(store: StateStore, limit: int) -> None:
    store.upsert_intel_items_batch(make_item(f"{number:04}", item_type=f"{number % 3}") for number in range(3000))
    expected = [f"{number:04}" for number in range(3000)]
    assert paged(store, limit) == expected
    assert paged(store, limit, item_type="1") == expected[1::3]
    assert paged(store, limit, where={"scores_json": ("exists", True)}, undecided=True) == expected


def test_many_types_and_decisions_are_walked_through(store: StateStore) -> None:
    items = [make_item(f"{number:03}", item_type=f"{number % 80}", decision=f"{number % 70}") for number in range(400)]
    store.upsert_intel_items_batch(items)
    several: list[dict[str, Any]]
    several = [{"item_type": "7"}, {"decision": "7"}, {"undecided": False}, {"item_type": "7", "decision": "7"}]
    for filters in several:
        expected = [
            item["item_id"]
            for item in items
            if all(item[name] == each for name, each in filters.items() if name != "undecided")
        ]
        assert ids(store.list_intel_items(**filters)) == expected
        assert paged(store, 3, **filters) == expected
        assert store.count_intel_items(**filters) == len(expected)


def test_fields_are_just_those_in_their_order(many: StateStore) -> None:
    whole = many.list_intel_items()
    for fields in [("item_id", "title"), ["scores_json"], ("created_at", "decision", "item_id"), COLUMNS[::-1]]:
        found = many.list_intel_items(fields=fields)
        assert [list(item.items()) for item in found] == [[(key, item[key]) for key in fields] for item in whole]  # type: ignore[literal-required]
        assert list(many.iter_intel_items(fields=iter(fields))) == found
    first = many.list_intel_items(fields={"title"}, limit=5)
    rest = many.list_intel_items(fields={"summary"}, cursor=first.next_cursor)
    assert len(first) + len(rest) == len(whole)


@pytest.mark.parametrize(
    ("error", "name", "wrong"),
    [
        (InvalidValueError, "since", datetime(2026, 1, 1)),
        (InvalidValueError, "until", "2026-01-01T00:00:00"),
        (InvalidTypeError, "until", 1.5),
        (InvalidTypeError, "run_id", 5),
        (InvalidTypeError, "item_type", ["note"]),
        (InvalidValueError, "item_type", "\ud800"),
        (InvalidTypeError, "decision", 5),
        (InvalidTypeError, "undecided", 1),
        (InvalidTypeError, "undecided", "yes"),
        (InvalidTypeError, "fields", "item_id"),
        (InvalidTypeError, "fields", 5),
        (InvalidTypeError, "fields", ["item_id", 5]),
        (InvalidValueError, "fields", ["item_id", "updated_at"]),
        (InvalidValueError, "fields", ["no_such_field"]),
        (InvalidValueError, "fields", ["item_id", "title", "item_id"]),
        (InvalidValueError, "fields", []),
        (InvalidValueError, "order", "best"),
        (InvalidTypeError, "order", True),
        (InvalidTypeError, "limit", True),
        (InvalidTypeError, "limit", 1.0),
        (InvalidValueError, "limit", 0),
        (InvalidValueError, "limit", -(10**30)),
        (InvalidTypeError, "cursor", 5),
    ],
)
def test_wrong_arguments_are_refused_by_name(many: StateStore, error: type[Exception], name: str, wrong: Any) -> None:
    with pytest.raises(error, match=rf"^list_intel_items: .*{name}") as caught:
        many.list_intel_items(**{name: wrong})
    assert "\n" not in str(caught.value)
    if name not in ("limit", "cursor"):
        with pytest.raises(error, match=rf"^iter_intel_items: .*{name}"):
            many.iter_intel_items(**{name: wrong})
        if name not in ("fields", "order"):
            with pytest.raises(error, match=rf"^count_intel_items: .*{name}"):
                many.count_intel_items(**{name: wrong})


@pytest.mark.parametrize("undecided", [True, False])
def test_decision_and_undecided_contradict_each_other(many: StateStore, undecided: bool) -> None:
    calls: list[Callable[..., object]] = [many.list_intel_items, many.iter_intel_items, many.count_intel_items]
    for call in calls:
        with pytest.raises(InvalidValueError, match="decision and undecided"):
            call(decision="promote", undecided=undecided)


def test_filters_are_keywords_only(many: StateStore) -> None:
    with pytest.raises(TypeError):
        many.list_intel_items("run-1")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        many.count_intel_items("run-1")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["list_intel_items", "iter_intel_items", "count_intel_items"])
def test_filter_that_does_not_exist_is_refused_at_once(many: StateStore, name: str) -> None:
    """A name that is misspelt would let every item through."""
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'run'$"):
        getattr(many, name)(run="run-1")


def test_error_of_an_iterable_of_fields_passes_on(many: StateStore) -> None:
    def failing() -> Iterator[str]:
        yield "title"
        raise Boom

    with pytest.raises(Boom):
        many.list_intel_items(fields=failing())


FILTERS: list[dict[str, Any]] = [
    {},
    {"run_id": "run-1"},
    {"run_id": "run-2"},
    {"item_type": "note"},
    {"decision": "promote"},
    {"undecided": True},
    {"undecided": False},
    {"since": time(1)},
    {"until": time(9)},
    {"where": {"scores_json.total": ("<", 9)}},
    {"where": {"scores_json.total": ("<=", 9)}},
    {"where": {"scores_json.total": ("<", 9.0)}},
    {"run_id": "run-1", "where": {"scores_json.total": ("<", 9)}},
]


def cursor_of(store: StateStore, **filters: Any) -> str:
    cursor = store.list_intel_items(limit=1, **filters).next_cursor
    assert cursor is not None
    return cursor


def test_cursor_of_other_filters_is_refused(many: StateStore) -> None:
    for mine, other in itertools.permutations(FILTERS, 2):
        with pytest.raises(InvalidValueError, match=r"^list_intel_items: the cursor belongs to another list"):
            many.list_intel_items(cursor=cursor_of(many, **mine), **other)
    with pytest.raises(InvalidValueError, match=r"^list_intel_items: the cursor belongs to another list"):
        many.list_intel_items(cursor=many.list_runs(limit=1).next_cursor)


def test_cursor_of_the_other_order_is_refused_by_name(many: StateStore) -> None:
    """It would begin to repeat what was there, or leave out what was not."""
    orders: list[Any] = ["oldest", "newest"]
    for mine, other in (orders, orders[::-1]):
        cursor = cursor_of(many, order=mine, item_type="note")
        message = rf'^list_intel_items: the cursor belongs to this list with order="{mine}", not "{other}"'
        with pytest.raises(InvalidValueError, match=message):
            many.list_intel_items(cursor=cursor, order=other, item_type="note")
        with pytest.raises(InvalidValueError, match=r"^list_intel_items: the cursor belongs to another list"):
            many.list_intel_items(cursor=cursor, order=other)
    assert cursor_of(many) == cursor_of(many, order="oldest")


def test_newest_first_is_the_list_reversed_where_there_are_many_groups(store: StateStore) -> None:
    store.upsert_intel_items_batch(
        make_item(f"{number}", item_type=f"type-{number % 9}", decision=DECISIONS[number % 4]) for number in range(3000)
    )
    for filters in ({"undecided": False}, {"item_type": "type-1"}, {"run_id": "run-1"}):
        wanted = ids(store.list_intel_items(**filters))[::-1]
        assert ids(store.list_intel_items(**filters, order="newest")) == wanted
        assert [item["item_id"] for item in store.iter_intel_items(**filters, order="newest")] == wanted


def test_cursor_is_of_the_filters_and_not_of_how_they_are_written(many: StateStore) -> None:
    total, title = ("in", [1, 2, 3, "x", "y"]), ("exists", True)
    where = {"scores_json.total": total, "claims_json": title}
    first = many.list_intel_items(where=where, since="2026-01-01T00:00:01Z", limit=4)
    rest = many.list_intel_items(
        where={"claims_json": title, 'scores_json."total"': ("in", {"y", "x", 3, 2, 1})},
        since=datetime(2026, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1))),
        cursor=first.next_cursor,
    )
    assert len(first) == 4
    assert [*first, *rest] == many.list_intel_items(where=where, since=time(1))


def test_cursor_of_another_store_is_refused_and_that_of_another_process_is_not(begun: Engine, many: StateStore) -> None:
    with begun.open() as store:
        put(store, "a", "b", "c")
        cursor = cursor_of(store)
        with pytest.raises(InvalidValueError, match=r"^list_intel_items: the cursor belongs to another"):
            store.list_intel_items(cursor=cursor_of(many))
    with begun.open(read_only=True) as store:
        assert ids(store.list_intel_items(cursor=cursor)) == ["b", "c"]


@given(st.data())
def test_cursor_that_was_changed_is_refused(many: StateStore, data: st.DataObject) -> None:
    cursor = list(cursor_of(many))
    place = data.draw(st.integers(0, len(cursor) - 1))
    cursor[place] = data.draw(st.characters(exclude_characters=cursor[place], exclude_categories=["Cs"]))
    with pytest.raises(InvalidValueError, match=r"^list_intel_items: the cursor is invalid or was changed"):
        many.list_intel_items(cursor="".join(cursor))


def test_pages_under_writers_have_each_item_once(begun: Engine) -> None:
    before = [f"before-{number:04}" for number in range(1000)]
    done = threading.Event()
    with begun.open(**begun.quick) as store:
        store.upsert_intel_items_batch(make_item(name, scores_json={"n": 1}) for name in before)

        def write(thread: int) -> None:
            for number in itertools.count():
                store.upsert_intel_items_batch([make_item(f"{thread}-{number}-{each}") for each in range(5)])
                store.upsert_intel_item(make_item(before[number % 1000], scores_json={"n": 1}, title=f"by {thread}"))
                store.decide(before[-number % 1000], None, f"{thread}, {number}")
                if done.is_set():
                    return

        def read() -> None:
            try:
                cases: list[tuple[int, dict[str, Any]]] = [
                    (50, {"run_id": "run-1", "fields": ["item_id"], "until": last}),
                    (60, {"item_type": "note", "until": last}),
                    (70, {"undecided": True, "where": {"scores_json.n": ("=", 1)}}),
                    (80, {"where": {"scores_json.n": ("=", 1)}}),
                ]
                for limit, filters in cases:
                    found = paged(store, limit, **filters)
                    assert len(found) == len(set(found))
                    assert [item_id for item_id in found if item_id.startswith("before")] == before
                found = paged(store, 100)
                assert len(found) == len(set(found))
                assert [item_id for item_id in found if item_id.startswith("before")] == before
            finally:
                done.set()

        last = datetime.now(UTC)
        in_threads([read, *((lambda thread=thread: write(thread)) for thread in range(4))])


def test_iteration_ends_its_pages_where_little_is_let_through(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(f"{number:05}", scores_json={"n": number}) for number in range(25_000))
    iterator = store.iter_intel_items(where={"scores_json.n": (">=", 24_998)}, fields=["item_id"])
    assert list(iterator) == [{"item_id": "24998"}, {"item_id": "24999"}]
    where = {"scores_json.n": ("=", 10_000)}
    assert [item["item_id"] for item in store.iter_intel_items(where=where)] == ["10000"]
    assert list(store.iter_intel_items(where={"scores_json.n": ("<", 0)})) == []


def test_conditions_of_an_iteration_are_those_it_was_called_with(store: StateStore) -> None:
    put(store, "a")
    where: dict[str, tuple[str, Any]] = {"scores_json.n": ("exists", False)}
    iterator = store.iter_intel_items(where=where)
    where["scores_json.n"] = ("exists", True)
    assert [item["item_id"] for item in iterator] == ["a"]


@pytest.mark.usefixtures("concurrent")
def test_transaction_sees_its_own_items_and_others_do_not(store: StateStore) -> None:
    put(store, "a")
    with store.transaction():
        put(store, "b")
        assert paged(store, 1) == paged(store, 1, item_type="note") == ["a", "b"]
        assert store.count_intel_items(undecided=True) == 2
        assert store.get_intel_item("b") is not None
        assert in_thread(paged, store, 1) == ["a"]
        assert in_thread(store.count_intel_items) == 1
        assert in_thread(store.get_intel_item, "b") is None


def test_items_of_a_store_that_was_empty(engine: Engine) -> None:
    with engine.open() as store:
        assert (store.list_intel_items(limit=5), store.list_intel_items(limit=5).next_cursor) == ([], None)
        store.start_run("run-1", "daily", {})
        put(store, *"abcdefg")
        assert paged(store, 2) == paged(store, 3, undecided=True) == list("abcdefg")
        assert store.count_intel_items(item_type="note", undecided=True) == 7


def test_items_of_a_run_that_is_being_pruned_are_not_there(many: StateStore) -> None:
    taken = next(item for item in ITEMS if item["run_id"] == "pruned")
    assert many.get_intel_item(taken["item_id"]) is None
    assert many.list_intel_items_for_run("pruned") == []
    assert list(many.iter_intel_items(run_id="pruned")) == []
    assert many.count_intel_items(run_id="pruned", item_type="note") == 0


def test_unknown_item_is_none(store: StateStore) -> None:
    put(store, "a")
    assert store.get_intel_item("b") is None
    assert store.get_intel_item("") is None
    assert store.get_intel_item("a\0") is None


@pytest.mark.parametrize(("wrong", "error"), [(None, InvalidTypeError), (5, InvalidTypeError), ("\ud800", ValueError)])
def test_item_id_that_is_no_text_is_refused(store: StateStore, wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^get_intel_item: item_id"):
        store.get_intel_item(wrong)
