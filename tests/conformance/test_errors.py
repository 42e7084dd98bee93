"""Every exception class that any engine may raise: raised for real, and clear in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from orchestrator.state_store import (
    ClockError,
    IntelItemNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    MissingFieldError,
    NestingTooDeepError,
    ReadOnlyError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    StateStore,
    StateStoreError,
    StoreBusyError,
    StoreClosedError,
    TransactionError,
)

from tests.conformance.conftest import Engine
from tests.helpers import held_transaction, make_item
from tests.programs.deep import nested

Act = Callable[[Engine, StateStore], object]


def use_closed(_: Engine, store: StateStore) -> None:
    store.close()
    store.finish_run("run-1", "completed")


def beat_when_over(_: Engine, store: StateStore) -> None:
    store.finish_run("run-1", "failed")
    store.heartbeat("run-1")


def write_while_held(lasting: Engine, store: StateStore) -> None:
    with lasting.open(busy_timeout=0.05) as other, held_transaction(store):
        other.finish_run("run-1", "completed")


def write_read_only(lasting: Engine, _: StateStore) -> None:
    with lasting.open(read_only=True) as reader:
        reader.finish_run("run-1", "completed")


def leave_twice(_: Engine, store: StateStore) -> None:
    with store.transaction() as transaction:
        pass
    transaction.__exit__(None, None, None)


def recover_after_years(lasting: Engine, store: StateStore) -> None:
    lasting.edit("runs", started_at="2020-01-01T00:00:00+00:00")
    store.recover_stale_runs(60)


def prune_after_years(lasting: Engine, store: StateStore) -> None:
    store.finish_run("run-1", "completed")
    lasting.edit("runs", started_at="2020-01-01T00:00:00+00:00", finished_at="2020-01-01T00:00:00+00:00")
    store.prune(older_than=60)


deep_item = make_item("item-7", claims_json=nested(100_000, "list"))
circular: list[Any] = []
circular.append(circular)
untitled = make_item("item-7")
del untitled["title"]
SCENARIOS: list[tuple[type[StateStoreError], list[str], Act]] = [
    (RunExistsError, ["start_run", "run-1"], lambda _, s: s.start_run("run-1", "daily", {})),
    (RunActiveError, ["delete_run", "run-1", "force=True"], lambda _, s: s.delete_run("run-1")),
    (RunNotFoundError, ["delete_run", "run-9"], lambda _, s: s.delete_run("run-9")),
    (RunFinishedError, ["heartbeat", "run-1", "failed"], beat_when_over),
    (RunNotFoundError, ["finish_run", "run-9"], lambda _, s: s.finish_run("run-9", "failed")),
    (RunNotFoundError, ["write_telemetry", "run-9"], lambda _, s: s.write_telemetry("run-9", {})),
    (
        RunNotFoundError,
        ["upsert_intel_item", "item-7", "run-9"],
        lambda _, s: s.upsert_intel_item(make_item("item-7", "run-9")),
    ),
    (
        RunNotFoundError,
        ["upsert_intel_items_batch", "item-7", "run-9", "1"],
        lambda _, s: s.upsert_intel_items_batch([make_item(), make_item("item-7", "run-9")]),
    ),
    (IntelItemNotFoundError, ["decide", "item-9", "nothing was changed"], lambda _, s: s.decide("item-9", "promote")),
    (
        IntelItemNotFoundError,
        ["decide_batch", "item-9", "nothing was changed"],
        lambda _, s: s.decide_batch({"item-9": "promote"}),
    ),
    (MissingFieldError, ["upsert_intel_item", "item-7", "title"], lambda _, s: s.upsert_intel_item(untitled)),
    (
        MissingFieldError,
        ["upsert_intel_items_batch", "item-7", "title", "2"],
        lambda _, s: s.upsert_intel_items_batch([make_item(), make_item(), untitled]),
    ),
    (InvalidTypeError, ["start_run", "run-7"], lambda _, s: s.start_run("run-7", "daily", {"a": {1}})),
    (InvalidTypeError, ["start_run", "run_type"], lambda _, s: s.start_run("run-7", 5, {})),  # type: ignore[arg-type]
    (
        InvalidTypeError,
        ["upsert_intel_item", "item-7", "claims_json"],
        lambda _, s: s.upsert_intel_item(make_item("item-7", claims_json=[object()])),
    ),
    (
        InvalidTypeError,
        ["upsert_intel_items_batch", "item-7", "title", "1"],
        lambda _, s: s.upsert_intel_items_batch([make_item(), make_item("item-7", title=None)]),
    ),
    (InvalidValueError, ["write_telemetry", "run-1"], lambda _, s: s.write_telemetry("run-1", circular)),
    (InvalidValueError, ["finish_run", "notes"], lambda _, s: s.finish_run("run-1", "x", "\ud800")),
    (NestingTooDeepError, ["upsert_intel_item", "item-7", "claims_json"], lambda _, s: s.upsert_intel_item(deep_item)),
    (StoreClosedError, ["finish_run"], use_closed),
    (StoreBusyError, ["finish_run", "run-1"], write_while_held),
    (ReadOnlyError, ["finish_run"], write_read_only),
    (TransactionError, ["transaction"], leave_twice),
    (ClockError, ["recover_stale_runs", "nothing was changed", "trust_clock=True"], recover_after_years),
    (ClockError, ["prune", "nothing was changed", "trust_clock=True"], prune_after_years),
]


def raised(kind: type[StateStoreError], names: list[str], act: Callable[[], object]) -> None:
    """Check that a call raises just this class, with these names in one line."""
    with pytest.raises(kind) as caught:
        act()
    error = caught.value
    assert type(error) is kind
    message = str(error)
    assert message
    assert "\n" not in message
    for name in names:
        assert name in message, message


@pytest.mark.parametrize(
    ("kind", "names", "act"),
    SCENARIOS,
    ids=[f"{index:02}-{each[0].__name__}" for index, each in enumerate(SCENARIOS)],
)
def test_each_class_is_raised_and_says_what_where(
    lasting: Engine, store: StateStore, kind: type[StateStoreError], names: list[str], act: Act
) -> None:
    raised(kind, names, lambda: act(lasting, store))


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb\u2028c", "\0", "'\""], ids=ascii)
def test_message_stays_one_line_whatever_the_id(store: StateStore, name: str) -> None:
    store.start_run(name, "daily", {})
    acts: list[Callable[[], object]] = [
        lambda: store.start_run(name, "daily", {}),
        lambda: store.finish_run(f"not {name}", "failed"),
        lambda: store.upsert_intel_item(make_item(name, f"not {name}")),
        lambda: store.upsert_intel_items_batch([make_item(name, title=None)]),
        lambda: store.upsert_intel_item({"item_id": name}),
        lambda: store.upsert_intel_item(make_item(name, name, claims_json={name: object()})),
    ]
    for act in acts:
        with pytest.raises(StateStoreError) as caught:
            act()
        assert len(str(caught.value).splitlines()) == 1


def test_message_stays_one_line_whatever_is_in_the_place_of_a_text(lasting: Engine, store: StateStore) -> None:
    class Lines:
        def __repr__(self) -> str:
            return "two\nlines"

    with lasting.open(strict=True) as strict:
        acts: list[Callable[[], object]] = [
            lambda: store.upsert_intel_item(make_item() | {"item_id": Lines()}),
            lambda: strict.upsert_intel_item({**make_item(), Lines(): 1}),  # type: ignore[dict-item]
        ]
        for act in acts:
            with pytest.raises(StateStoreError, match="two lines") as caught:
                act()
            assert len(str(caught.value).splitlines()) == 1


def test_errors_leave_the_store_usable(lasting: Engine, store: StateStore) -> None:
    for _, _, act in SCENARIOS[:14]:
        with pytest.raises(StateStoreError):
            act(lasting, store)
    store.upsert_intel_item(make_item("last"))
    assert [item["item_id"] for item in store.list_intel_items_for_run("run-1")] == ["last"]
