"""`order_by`: items by a number in their JSON, against a sort in plain Python."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import InvalidJSONError, InvalidTypeError, InvalidValueError, StateStore
from orchestrator.state_store.calls import item_lists

from tests.conformance.conftest import Engine, examples
from tests.conformance.paging import RUNS, START, optional, with_items
from tests.helpers import Boom, in_process, in_threads, make_item
from tests.programs import rankings

TOTAL = "scores_json.total"
MISSING = object()
NUMBERS = [0, -0.0, 1, 1.0, -1.5, 2**53, 2**53 + 1, float(2**53), 2**63 - 1, 2**63, float(2**63), -(2**63) - 1]
EXTREMES = [10**30, 1e30, 10**400, -(10**400), 10**4299, 1e308, 5e-324, math.inf, -math.inf]
NO_NUMBERS = [MISSING, None, True, False, math.nan, "", "1", "é", [], [7], {}, {"total": 7}]
totals = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(EXTREMES),
    st.sampled_from(NO_NUMBERS),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
)
orders: st.SearchStrategy[Any] = st.sampled_from(["oldest", "newest"])
Order = Literal["oldest", "newest"]


def scored(item_id: str, total: Any, **fields: Any) -> dict[str, Any]:
    return make_item(item_id, scores_json={} if total is MISSING else {"total": total}, **fields)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # not NaN


def best_first(values: list[tuple[str, Any]], order: Order = "oldest") -> list[str]:
    """Sort ids, which come with their values in the order of recording."""
    aged = values if order == "oldest" else values[::-1]
    numbered = [each for each in aged if is_number(each[1])]
    # A sort in reverse keeps the order of those that are equal.
    numbered.sort(key=lambda each: each[1], reverse=True)
    return [item_id for item_id, _ in numbered + [each for each in aged if not is_number(each[1])]]


def listed(store: StateStore, order_by: str = TOTAL, **filters: Any) -> list[str]:
    return [item["item_id"] for item in store.list_intel_items(order_by=order_by, **filters)]


def iterated(store: StateStore, **filters: Any) -> list[str]:
    return [item["item_id"] for item in store.iter_intel_items(order_by=TOTAL, **filters)]


def pages(store: StateStore, limit: int, **filters: Any) -> Iterator[list[str]]:
    """Go through all pages; each but the last is full, and only the last has no cursor."""
    cursor = None
    while True:
        page = store.list_intel_items(order_by=TOTAL, limit=limit, cursor=cursor, **filters)
        yield [item["item_id"] for item in page]
        cursor = page.next_cursor
        if cursor is None:
            return
        assert len(page) == limit


def paged(store: StateStore, limit: int, **filters: Any) -> list[str]:
    return list(itertools.chain.from_iterable(pages(store, limit, **filters)))


@examples(200)
@given(st.lists(totals, max_size=25), orders, st.integers(1, 26))
def test_best_comes_first_then_the_oldest_and_what_is_no_number_last(
    new_engine: Callable[[], Engine], values: list[Any], order: Order, limit: int
) -> None:
    named = [(f"item-{number}", value) for number, value in enumerate(values)]
    engine = new_engine()
    with engine.open(**engine.quick) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(scored(item_id, value) for item_id, value in named)
        expected = best_first(named, order)
        assert listed(store, order=order) == expected
        assert paged(store, limit, order=order) == expected
        assert iterated(store, order=order) == expected


KINDS = [
    (RUNS[number % 3], "note" if number % 5 else "paper", [None, "promote", "block"][number % 4 % 3])
    for number in range(300)
]
VALUES: list[Any] = [NO_NUMBERS[number % 12] if number % 10 == 3 else number * 7919 % 41 / 2 for number in range(300)]

SECONDS = [number * 7 % 60 for number in range(300)]
"""When each was recorded, by a clock that was set back now and then."""


def recorded(number: int) -> dict[str, Any]:
    run_id, item_type, decision = KINDS[number]
    item = scored(f"item-{number}", VALUES[number], run_id=run_id, item_type=item_type, title=f"é {number}")
    columns = ("claims_json", "evidence_json", "risk_flags_json", "explainability_json")
    created_at = (START + timedelta(seconds=SECONDS[number])).isoformat()
    scores = {"scores_json": json.dumps(item["scores_json"])}
    return {
        **item,
        **dict.fromkeys(columns, "[]"),
        **scores,
        "decision": decision,
        "decision_reason": None,
        "created_at": created_at,
    }


@pytest.fixture(scope="module")
def many(new_lasting: Callable[[], Engine]) -> Iterator[StateStore]:
    yield from with_items(new_lasting(), [recorded(number) for number in range(300)])


@examples(200)
@given(
    optional("run-1", "run-2", "pruned", "unknown"),
    optional("note", "paper", "unknown"),
    optional("promote", "block", True, False),
    optional(0, 9, 31),
    optional(3, 20, 60),
    optional(5, 9.5, 30),
    st.integers(1, 70),
    orders,
)
def test_filters_let_through_what_they_say_in_this_order(
    many: StateStore,
    run_id: str | None,
    item_type: str | None,
    decided: str | bool | None,
    since: int | None,
    until: int | None,
    least: float | None,
    limit: int,
    order: Order,
) -> None:
    filters: dict[str, Any] = {
        "run_id": run_id,
        "item_type": item_type,
        "undecided" if isinstance(decided, bool) else "decision": decided,
        "since": None if since is None else START + timedelta(seconds=since),
        "until": None if until is None else START + timedelta(seconds=until),
        "where": None if least is None else {TOTAL: (">=", least)},
    }

    def passes(number: int) -> bool:
        run, kind, decision = KINDS[number]
        return (
            run != "pruned"
            and run_id in (None, run)
            and item_type in (None, kind)
            and (decided is None or decided == ((decision is None) if isinstance(decided, bool) else decision))
            and (since is None or SECONDS[number] >= since)
            and (until is None or SECONDS[number] < until)
            and (least is None or (is_number(VALUES[number]) and VALUES[number] >= least))
        )

    expected = best_first([(f"item-{number}", VALUES[number]) for number in range(300) if passes(number)], order)
    assert listed(many, **filters, order=order) == expected
    assert paged(many, limit, **filters, order=order) == expected
    assert iterated(many, **filters, order=order) == expected
    titles = many.list_intel_items(order_by=TOTAL, order=order, limit=limit, fields=["title"], **filters)
    assert titles == [{"title": f"é {item_id.removeprefix('item-')}"} for item_id in expected[:limit]]


def test_any_path_that_where_takes_orders_items(store: StateStore) -> None:
    claims: list[Any] = [[{"a.b": 1}], [{"a.b": 3}], [], [{"a.b": 2}]]
    for number, each in enumerate(claims):
        store.upsert_intel_item(make_item(f"{number}", claims_json=each, scores_json=number, risk_flags_json=[number]))
    assert listed(store, 'claims_json[0]."a.b"') == ["1", "3", "0", "2"]
    assert listed(store, "scores_json") == listed(store, "risk_flags_json[0]") == ["3", "2", "1", "0"]
    assert listed(store, "evidence_json.\ud800") == ["0", "1", "2", "3"]


def test_text_that_is_not_json_comes_last_and_is_refused_only_where_it_is_returned(begun: Engine) -> None:
    with begun.open() as store:
        for item_id, total in (("a", 1), ("b", 9), ("c", 5)):
            store.upsert_intel_item(scored(item_id, total))
    begun.edit("intel_items", {"item_id": "b"}, scores_json='{"total": 9')
    with begun.open() as store:
        assert [item["item_id"] for item in store.list_intel_items(order_by=TOTAL, fields=["item_id"])] == [
            "c",
            "a",
            "b",
        ]
        assert listed(store, limit=2) == ["c", "a"]
        with pytest.raises(InvalidJSONError, match=r'item "b", scores_json: not JSON'):
            store.list_intel_items(order_by=TOTAL)


@pytest.mark.parametrize("path", ["", "scores", "title", "scores_json.", "scores_json[-1]", "scores_json.a]", "total"])
def test_path_that_is_none_is_refused_by_name_at_once(many: StateStore, path: str) -> None:
    """Items in no order, or none at all, would look like a ranking."""
    for name in ("list_intel_items", "iter_intel_items"):
        with pytest.raises(InvalidValueError, match=rf'^{name}: order_by: the path "{re.escape(path)}": it '):
            getattr(many, name)(order_by=path)


@pytest.mark.parametrize("path", [7, b"scores_json.total", ["scores_json", "total"], True])
def test_path_of_another_type_is_refused(many: StateStore, path: Any) -> None:
    found = type(path).__name__
    for name in ("list_intel_items", "iter_intel_items"):
        with pytest.raises(
            InvalidTypeError, match=rf"^{name}: order_by must be a path in a str, or None, not {found}$"
        ):
            getattr(many, name)(order_by=path)


def test_counts_have_no_order(many: StateStore) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'order_by'"):
        many.count_intel_items(order_by=TOTAL)  # type: ignore[call-arg]


def test_none_is_the_order_of_recording(many: StateStore) -> None:
    assert many.list_intel_items(order_by=None) == many.list_intel_items()
    assert list(many.iter_intel_items(order_by=None)) == many.list_intel_items()


def test_cursor_of_another_order_is_refused(many: StateStore) -> None:
    """It would leave out items, or repeat them."""
    other = "^list_intel_items: the cursor belongs to another list: .* with the same filters and order$"
    mine: list[dict[str, Any]] = [
        {},
        {"order_by": TOTAL},
        {"order_by": "scores_json"},
        {"order_by": "claims_json.total"},
    ]
    for one, another in itertools.permutations(mine, 2):
        cursor = many.list_intel_items(limit=2, **one).next_cursor
        with pytest.raises(InvalidValueError, match=other):
            many.list_intel_items(cursor=cursor, **another)
    cursor = many.list_intel_items(limit=2, order_by=TOTAL).next_cursor
    with pytest.raises(InvalidValueError, match=r'^list_intel_items: the cursor belongs .* with order="oldest"'):
        many.list_intel_items(cursor=cursor, order_by=TOTAL, order="newest")
    with pytest.raises(InvalidValueError, match=other):
        many.list_intel_items(cursor=cursor, order_by=TOTAL, run_id="run-1")
    same = 'scores_json."total"'
    assert listed(many, same, cursor=cursor, limit=3) == listed(many)[2:5]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_items_whose_number_does_not_change_come_once_while_others_are_written(store: StateStore, limit: int) -> None:
    fixed = [(f"fixed-{number}", [number % 5, None][number % 4 == 3]) for number in range(20)]
    store.upsert_intel_items_batch(scored(item_id, value) for item_id, value in fixed)
    store.upsert_intel_items_batch(scored(f"moving-{number}", number) for number in range(6))
    found: list[str] = []
    cursor, rounds = None, itertools.count()
    while True:
        page = store.list_intel_items(order_by=TOTAL, limit=limit, cursor=cursor)
        found += [item["item_id"] for item in page]
        cursor = page.next_cursor
        if cursor is None:
            break
        number = next(rounds)
        store.upsert_intel_item(scored(f"new-{number}", number % 7))
        store.upsert_intel_item(scored(f"moving-{number % 6}", number * 5 % 7))
        store.upsert_intel_item(scored(fixed[number % 20][0], fixed[number % 20][1], title=f"{number}"))
        store.decide(fixed[number * 3 % 20][0], f"{number}")
        store.delete_intel_item(f"new-{number - 1}")
        # The page before may have ended with an item that is gone.
        store.delete_intel_item(f"moving-{number}")
    assert [item_id for item_id in found if item_id.startswith("fixed")] == best_first(fixed)


def test_iteration_goes_on_from_ranking_to_ranking(store: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [(f"{number}", NO_NUMBERS[number % 12] if number % 9 == 0 else number * 31 % 17) for number in range(200)]
    store.upsert_intel_items_batch(scored(item_id, value) for item_id, value in values)
    for page, ranked in ((512, 500_000), (7, 200), (7, 199), (7, 30), (30, 7), (1, 1)):
        monkeypatch.setattr(item_lists, "_PAGE_ITEMS", page)
        monkeypatch.setattr(item_lists, "_RANKED_ITEMS", ranked)
        for order in ("oldest", "newest"):
            assert iterated(store, order=order) == best_first(values, order)


def test_iteration_leaves_out_what_is_gone_and_what_no_longer_passes(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_lists, "_PAGE_ITEMS", 2)
    store.start_run("run-2", "daily", {})
    for number in range(10):
        store.upsert_intel_item(scored(f"{number}", 100 - number))
    iterator = store.iter_intel_items(order_by=TOTAL, run_id="run-1", undecided=True)
    found = [next(iterator)["item_id"] for _ in range(2)]
    store.decide("3", "promote")
    store.delete_intel_item("5")
    store.upsert_intel_item(scored("7", 1000))
    store.upsert_intel_item(scored("0", -1))
    store.delete_intel_item("9")
    # It may be recorded where the last one was, and is of another run.
    store.upsert_intel_item(scored("other", 7, run_id="run-2"))
    rest = list(iterator)
    assert found + [item["item_id"] for item in rest] == ["0", "1", "2", "4", "6", "7", "8"]
    assert [item["scores_json"]["total"] for item in rest if item["item_id"] == "7"] == [1000]


def test_nothing_is_held_open_between_pages(store: StateStore) -> None:
    store.upsert_intel_items_batch(scored(f"{number}", number) for number in range(1500))
    iterator = store.iter_intel_items(order_by=TOTAL)
    assert next(iterator)["item_id"] == "1499"
    with store.transaction():
        store.upsert_intel_item(scored("0", 0, title="changed"))
    assert list(iterator)[-1]["title"] == "changed"


def test_transaction_sees_what_it_wrote(store: StateStore) -> None:
    values = [(f"{number}", number * 7919 % 101) for number in range(1200)]
    store.upsert_intel_item(scored("before", 50))
    with store.transaction():
        store.upsert_intel_items_batch(scored(item_id, value) for item_id, value in values)
        inside = best_first([("before", 50), *values])
        assert listed(store) == iterated(store) == paged(store, 500) == inside
        with contextlib.suppress(Boom), store.transaction():
            store.upsert_intel_items_batch(scored(item_id, -value) for item_id, value in values)
            undone = store.iter_intel_items(order_by=TOTAL)
            assert next(undone)["item_id"] == "before"
            raise Boom
        assert listed(store, limit=3) == inside[:3]
        assert len(list(undone)) == 1200
    assert listed(store) == inside


@pytest.mark.usefixtures("concurrent")
def test_threads_rank_while_others_write(store: StateStore) -> None:
    fixed = [(f"fixed-{number}", number * 7919 % 53) for number in range(1500)]
    store.upsert_intel_items_batch(scored(item_id, value) for item_id, value in fixed)
    expected, done = best_first(fixed), threading.Event()

    def read(rank: Callable[[], list[str]]) -> None:
        for _ in range(10):
            found = rank()
            assert [each for each in found if each.startswith("fixed")] == expected

    def read_all() -> None:
        try:
            in_threads([lambda: read(lambda: listed(store)), lambda: read(lambda: iterated(store))])
            read(lambda: paged(store, 700))
        finally:
            done.set()

    def write() -> None:
        for number in itertools.count():
            store.upsert_intel_item(scored(f"new-{number % 50}", number % 60))
            if done.is_set():
                return

    in_threads([read_all, write])


def test_one_page_and_an_iteration_need_little_memory(begun: Engine) -> None:
    """All of the items are some 100 MB, and of each 24 bytes are kept."""
    with begun.open(**begun.quick) as store:
        for batch in range(10):
            store.upsert_intel_items_batch(
                scored(f"{batch}-{number}", number * 7919 % 10007, summary="é" * 5_000) for number in range(1000)
            )
    grown = in_process(rankings.grown, begun.location)
    assert max(grown) < 12_000_000, grown
