"""count_intel_items_by() and count_runs_by(): each number is what the list has, the largest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.state_store import InvalidTypeError, InvalidValueError, StateStore

from tests.conformance.conftest import Engine
from tests.helpers import in_thread, make_item

BY: list[Any] = ["decision", "item_type", "run_id"]
RUNS_BY: list[Any] = ["status", "run_type"]
DECISIONS = [None, "promote", "monitor", "", "block"]


@pytest.fixture(scope="module")
def many(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    """Open a store of 9 runs and 2,000 items, whose numbers are equal for some."""
    with new_engine().open() as store:
        for number in range(9):
            store.start_run(f"run-{number}", ["daily", "weekly"][number % 4 // 3], {})
        store.upsert_intel_items_batch(
            make_item(
                f"{number}",
                f"run-{number % 45 // 7}",
                item_type=["note", "paper", "release"][number % 5 // 2],
                decision=DECISIONS[number % 40 // 9],
                scores_json={"total": number},
            )
            for number in range(2000)
        )
        for number in range(5):
            store.finish_run(f"run-{number}", ["completed", "failed"][number % 2])
        yield store


def expected(values: list[Any]) -> list[tuple[Any, int]]:
    counts = Counter(values)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0] is None, pair[0] or ""))


@given(
    st.sampled_from(BY),
    st.fixed_dictionaries(
        {},
        optional={
            "run_id": st.sampled_from(["run-1", "run-6", "none"]),
            "item_type": st.sampled_from(["note", "paper", "none"]),
            "decision": st.sampled_from(["promote", "", "none"]),
            "since": st.sampled_from(["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]),
            "until": st.sampled_from(["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]),
            "where": st.sampled_from([{"scores_json.total": (">=", 1500)}, {"scores_json.none": ("exists", True)}]),
        },
    ),
    st.none() | st.booleans(),
)
def test_numbers_are_those_of_the_list(
    many: StateStore, by: Any, filters: dict[str, Any], undecided: bool | None
) -> None:
    if "decision" not in filters:
        filters["undecided"] = undecided
    listed = many.list_intel_items(fields=[by], **filters)
    counted = many.count_intel_items_by(by, **filters)
    assert list(counted.items()) == expected([dict(item)[by] for item in listed])
    assert sum(counted.values()) == many.count_intel_items(**filters)


def test_run_is_counted_by_itself_whether_others_came_between_or_not(store: StateStore) -> None:
    """Where none did, its items are found by their times."""

    def put(run_id: str, *names: str) -> None:
        kinds = [("note", None), ("paper", "promote"), ("note", "promote"), ("paper", None), ("note", "")]
        store.upsert_intel_items_batch(
            make_item(name, run_id, item_type=kinds[number % 5][0], decision=kinds[number % 5][1])
            for number, name in enumerate(names)
        )

    def check() -> None:
        for run_id in ("run-1", "run-2", "run-3", "none"):
            for by in BY:
                for filters in ({}, {"item_type": "note"}, {"undecided": False}, {"decision": ""}):
                    listed = store.list_intel_items(run_id=run_id, **filters)
                    counted = store.count_intel_items_by(by, run_id=run_id, **filters)
                    assert list(counted.items()) == expected([dict(item)[by] for item in listed])

    store.start_run("run-2", "daily", {})
    store.start_run("run-3", "daily", {})
    put("run-1", *"abcdefg")
    check()
    put("run-2", *"hijk")
    put("run-3", "l")
    check()
    put("run-1", "m", "n")
    check()
    with store.transaction():
        put("run-2", "o")
        put("run-3", "p")
        check()


@given(
    st.sampled_from(RUNS_BY),
    st.fixed_dictionaries(
        {},
        optional={
            "run_id_prefix": st.sampled_from(["", "run-", "run-3", "none"]),
            "run_type": st.sampled_from(["daily", "weekly", "none"]),
            "status": st.sampled_from(["running", ["completed", "failed", "completed"], []]),
            "since": st.sampled_from(["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]),
            "until": st.sampled_from(["2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]),
        },
    ),
)
def test_numbers_of_runs_are_those_of_the_list(many: StateStore, by: Any, filters: dict[str, Any]) -> None:
    counted = many.count_runs_by(by, **filters)
    assert list(counted.items()) == expected([getattr(run, by) for run in many.list_runs(**filters)])
    assert sum(counted.values()) == many.count_runs(**filters)


def test_equal_numbers_come_by_name_and_no_decision_last(store: StateStore) -> None:
    for number, decision in enumerate(["b", None, "a", None, "b", "a", "c"]):
        store.upsert_intel_item(make_item(f"{number}", decision=decision))
    assert list(store.count_intel_items_by("decision").items()) == [("a", 2), ("b", 2), (None, 2), ("c", 1)]


def test_nothing_is_counted_where_nothing_is(store: StateStore) -> None:
    for by in BY:
        assert store.count_intel_items_by(by) == {}
    assert store.count_runs_by("status", status="none") == {}


def test_transaction_counts_its_own_writes_and_others_do_not(store: StateStore) -> None:
    with store.transaction():
        store.upsert_intel_items_batch(make_item(f"{number}") for number in range(1000))
        assert store.count_intel_items_by("run_id") == {"run-1": 1000}
        store.finish_run("run-1", "completed")
        assert store.count_runs_by("status") == {"completed": 1}
        assert store.delete_intel_item("0")
        assert store.count_intel_items_by("decision", item_type="note") == {None: 999}


@pytest.mark.usefixtures("concurrent")
def test_what_is_not_committed_is_not_counted_elsewhere(store: StateStore) -> None:
    with store.transaction():
        store.upsert_intel_item(make_item())
        store.start_run("run-2", "daily", {})
        assert in_thread(store.count_intel_items_by, "decision") == {}
        assert in_thread(store.count_runs_by, "run_type") == {"daily": 1}


def test_numbers_are_read_with_read_only(begun: Engine) -> None:
    with begun.open() as store:
        store.upsert_intel_items_batch(make_item(f"{number}") for number in range(600))
    with begun.open(read_only=True) as store:
        assert store.count_intel_items_by("run_id") == {"run-1": 600}
        assert store.count_runs_by("run_type") == {"daily": 1}


@pytest.mark.parametrize(
    ("error", "by"), [(InvalidValueError, "title"), (InvalidTypeError, None), (InvalidTypeError, 5)]
)
def test_what_is_counted_by_is_one_of_a_few(store: StateStore, error: type[Exception], by: Any) -> None:
    with pytest.raises(error, match=r"^count_intel_items_by: by must be"):
        store.count_intel_items_by(by)
    with pytest.raises(error, match=r"^count_runs_by: by must be"):
        store.count_runs_by(by)


def test_filters_are_those_of_the_lists(store: StateStore) -> None:
    with pytest.raises(TypeError, match=r"^count_intel_items_by\(\) got an unexpected keyword argument 'status'"):
        store.count_intel_items_by("decision", status="failed")  # type: ignore[call-arg]
    with pytest.raises(InvalidValueError, match=r"^count_intel_items_by: since"):
        store.count_intel_items_by("decision", since="2026-01-01T00:00:00")
    with pytest.raises(InvalidValueError, match=r"^count_runs_by: until"):
        store.count_runs_by("status", until="2026-01-01T00:00:00")


def test_items_of_a_large_run_are_counted_where_others_come_before_behind_and_among_them(store: StateStore) -> None:
    """Where no other run has items of its time, its items are counted without asking for the run of each."""
    for number in (2, 3):
        store.start_run(f"run-{number}", "daily", {})
    large = [
        make_item(f"{number}", item_type=f"type-{number % 3}", decision=DECISIONS[number % 4])
        for number in range(10_500)
    ]
    types = expected([item["item_type"] for item in large])
    decisions = expected([item["decision"] for item in large])

    def assert_counted() -> None:
        assert list(store.count_intel_items_by("item_type", run_id="run-1").items()) == types
        assert list(store.count_intel_items_by("decision", run_id="run-1").items()) == decisions
        promoted = expected([item["item_type"] for item in large if item["decision"] == "promote"])
        assert list(store.count_intel_items_by("item_type", run_id="run-1", decision="promote").items()) == promoted

    store.upsert_intel_item(make_item("before", "run-2"))
    store.upsert_intel_items_batch(large[:6_000])
    store.upsert_intel_items_batch(large[6_000:])
    store.upsert_intel_item(make_item("behind", "run-3"))
    assert_counted()
    store.delete_intel_item("0")
    store.upsert_intel_item(large[0])
    assert_counted()
