"""Times of pandas, and others that are a datetime by type alone: taken for what they say, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pandas as pd
import pytest
from orchestrator.state_store import InvalidTypeError, InvalidValueError, StateStore

from tests.helpers import make_item


class Days(tzinfo):
    """An offset that is none."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(days=3)

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, _: datetime | None) -> None:
        return None


CALLS: list[Callable[..., Any]] = [
    StateStore.list_runs,
    StateStore.count_runs,
    StateStore.list_intel_items,
    StateStore.iter_intel_items,
    StateStore.count_intel_items,
]
NO_TIMES = [
    (pd.NaT, "is NaT, not a time; pass None for no bound"),
    (datetime(2024, 1, 1, tzinfo=Days()), "is out of range in UTC: 2024-01-01 00:00:00"),
    (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "is out of range in UTC: 0001-01-01"),
    (pd.Timestamp("2024-01-01"), "must have an offset from UTC"),
    ("NaT", "is not a time in ISO 8601: 'NaT'"),
]


@pytest.mark.parametrize(("value", "why"), NO_TIMES, ids=["NaT", "days", "year 1", "naive", "text"])
@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_what_is_no_time_is_refused_by_name(
    store: StateStore, call: Callable[..., Any], name: str, value: Any, why: str
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        call(store, **{name: value})
    assert str(caught.value).startswith(f"{call.__name__}: {name} {why}")
    assert "\n" not in str(caught.value)


def test_timestamps_are_taken_with_their_nanoseconds(store: StateStore) -> None:
    recorded = datetime.fromisoformat(store.list_runs()[0].started_at)
    just_after = pd.Timestamp(recorded) + pd.Timedelta(1, "ns")
    assert store.count_runs(since=recorded) == store.count_runs(until=just_after) == 1
    assert store.count_runs(until=pd.Timestamp(recorded)) == store.count_runs(since=just_after) == 0
    assert store.count_runs(since=pd.Timestamp(recorded).tz_convert("Asia/Kathmandu")) == 1


@pytest.mark.parametrize("span", [pd.NaT, pd.Timedelta("NaT")], ids=["NaT", "Timedelta"])
def test_no_span_is_refused_by_name(store: StateStore, span: Any) -> None:
    for call, name in ((store.recover_stale_runs, "older_than"), (store.check, "stale_after")):
        with pytest.raises(InvalidTypeError, match=f"{name} must be a timedelta or a number of seconds, not NaTType"):
            call(**{name: span})
    assert store.recover_stale_runs(pd.Timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("title", "title must be a str, not NaTType"),
        ("decision", "decision must be a str, not NaTType"),
        ("claims_json", "claims_json: Object of type NaTType is not JSON serializable"),
    ],
)
def test_no_time_in_an_item_is_refused_by_name(store: StateStore, field: str, why: str) -> None:
    with pytest.raises(InvalidTypeError) as caught:
        store.upsert_intel_item(make_item(**{field: pd.NaT}))
    assert str(caught.value) == f'upsert_intel_item ("item-1"): {why}'


def test_the_times_of_an_item_are_the_stores(store: StateStore) -> None:
    store.upsert_intel_item(make_item(created_at=pd.NaT, updated_at=pd.NaT))
    [item] = store.list_intel_items(until=datetime.now(UTC))
    assert datetime.fromisoformat(item["created_at"]) <= datetime.now(UTC)
