# ruff: noqa: PT012 - what a block does before it fails is the point
"""The life of a run: its block, and what becomes of one that gives no sign of life."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestrator.state_store import (
    ActiveRun,
    InvalidTypeError,
    InvalidValueError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    RunRecord,
    StateStore,
    StoreClosedError,
    TransactionError,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, in_process, in_thread, make_item
from tests.programs import lives


def end(store: StateStore, run_id: str = "run-2") -> tuple[str, str | None, bool]:
    """Return a run's status and notes, and whether it is finished."""
    record = store.get_run(run_id)
    assert record is not None
    return record.status, record.notes, record.finished_at is not None


def age(engine: Engine, seconds: float, *columns: str) -> str:
    """Set the times in these columns (`table.column`) to so long ago, and all other signs of life to a day ago."""
    now = datetime.now(UTC)
    then, day = ((now - timedelta(**ago)).isoformat() for ago in ({"seconds": seconds}, {"days": 1}))
    signs = ("runs.started_at", "runs.heartbeat_at", "intel_items.created_at", "intel_items.updated_at")
    for sign in (*signs, "telemetry.created_at"):
        table, column = sign.split(".")
        if sign in columns:
            engine.edit(table, None, **{column: then})
        else:
            for row in engine.rows(table):
                if row[column] is not None:
                    engine.edit(table, {column: row[column]}, **{column: day})
    return then


def test_run_is_started_and_completed(store: StateStore) -> None:
    with store.run("run-2", "weekly", {"limit": 10}) as run:
        assert isinstance(run, ActiveRun)
        assert run.record == RunRecord("run-2", "weekly", run.started_at, "running", {"limit": 10})
        assert end(store) == ("running", None, False)
        assert "running" in repr(run)
    assert end(store) == ("completed", None, True)
    assert "over" in repr(run)


class NoText(Exception):
    def __str__(self) -> str:
        raise Boom


@pytest.mark.parametrize(
    ("error", "status", "notes"),
    [
        (ValueError("no network"), "failed", "ValueError: no network"),
        (ValueError("two\n  lines \r\n"), "failed", "ValueError: two lines"),
        (ValueError(), "failed", "ValueError"),
        (ValueError("\ud800"), "failed", "ValueError: \\ud800"),
        (NoText(), "failed", "NoText"),
        (SystemExit(), "cancelled", "SystemExit"),
        (SystemExit(0), "cancelled", "SystemExit: 0"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (SystemExit("no network"), "failed", "SystemExit: no network"),
        (SystemExit(""), "failed", "SystemExit"),
        (SystemExit(0.0), "failed", "SystemExit: 0.0"),
        (
            BaseExceptionGroup("g", [KeyboardInterrupt(), SystemExit(0)]),
            "cancelled",
            "BaseExceptionGroup: g (2 sub-exceptions)",
        ),
        (BaseExceptionGroup("g", [KeyboardInterrupt(), Boom()]), "failed", "BaseExceptionGroup: g (2 sub-exceptions)"),
        (KeyboardInterrupt(), "cancelled", "KeyboardInterrupt"),
        (GeneratorExit(), "cancelled", "GeneratorExit"),
        (asyncio.CancelledError("shutdown"), "cancelled", "CancelledError: shutdown"),
    ],
    ids=repr,
)
def test_exception_passes_and_is_the_reason(store: StateStore, error: BaseException, status: str, notes: str) -> None:
    with pytest.raises(type(error)) as caught, store.run("run-2", "daily", {}):
        raise error
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert end(store) == (status, notes, True)


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\ud800"])
def test_long_text_of_an_exception_is_cut_with_a_mark(store: StateStore, letter: str) -> None:
    with pytest.raises(ValueError, match=letter * 9000), store.run("run-2", "daily", {}):
        raise ValueError(letter * 9000)
    notes = end(store)[1]
    assert notes is not None
    kept, mark, length = notes.partition(" ... ")
    assert 4090 <= len(notes.encode()) <= 4096
    assert (mark, length) == (" ... ", "(9012 characters in all)")
    assert kept.removeprefix("ValueError: ").strip(letter.encode("utf-8", "backslashreplace").decode()) == ""


def test_text_of_an_exception_that_just_fits_is_kept_whole(store: StateStore) -> None:
    with pytest.raises(ValueError, match="x"), store.run("run-2", "daily", {}):
        raise ValueError("x" * 4084)
    assert end(store)[1] == "ValueError: " + "x" * 4084


def test_task_that_is_cancelled_cancels_its_run(store: StateStore) -> None:
    async def work(run_id: str, entered: asyncio.Event) -> None:
        with store.run(run_id, "daily", {}):
            entered.set()
            await asyncio.Event().wait()

    async def main() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(work("run-2", entered))
        await entered.wait()
        with store.run("run-3", "daily", {}):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work("run-4", asyncio.Event()), 0.01)

    asyncio.run(main())
    assert end(store)[0] == "cancelled"
    assert end(store, "run-3") == ("completed", None, True)
    assert end(store, "run-4")[0] == "cancelled"


def test_generator_that_is_closed_cancels_its_run(store: StateStore) -> None:
    def work() -> Iterator[str]:
        with store.run("run-2", "daily", {}) as run:
            yield run.run_id

    generator = work()
    next(generator)
    del generator
    assert end(store) == ("cancelled", "GeneratorExit", True)


def test_run_finished_inside_its_block_stays_so(store: StateStore) -> None:
    with store.run("run-2", "daily", {}) as run:
        run.finish("partial", "half of it")
        assert end(store) == ("partial", "half of it", True)
        store.finish_run("run-2", "partial", "three quarters")
    assert end(store) == ("partial", "three quarters", True)
    with pytest.raises(Boom), store.run("run-3", "daily", {}):
        store.finish_run("run-3", "partial", "half of it")
        raise Boom
    assert end(store, "run-3") == ("partial", "half of it", True)


def test_end_that_was_rolled_back_leaves_the_end_to_the_block(store: StateStore) -> None:
    """It would be running for good, and nobody would know."""
    with store.run("run-2", "daily", {}) as run:
        with contextlib.suppress(Boom), store.transaction():
            run.finish("partial", "half of it")
            raise Boom
        assert end(store) == ("running", None, False)
    assert end(store) == ("completed", None, True)
    with pytest.raises(Boom), store.run("run-3", "daily", {}) as run, store.transaction():
        run.finish("partial", "half of it")
        raise Boom
    assert end(store, "run-3") == ("failed", "Boom", True)
    with store.run("run-4", "daily", {}) as run, store.transaction():
        run.finish("partial", "half of it")
    assert end(store, "run-4") == ("partial", "half of it", True)


def test_end_that_is_refused_leaves_the_end_to_the_block(store: StateStore) -> None:
    with store.run("run-2", "daily", {}) as run, pytest.raises(InvalidTypeError, match="status"):
        run.finish(5)  # type: ignore[arg-type]
    assert end(store) == ("completed", None, True)


def test_block_in_a_transaction_goes_with_it(store: StateStore) -> None:
    with pytest.raises(Boom), store.transaction(), store.run("run-2", "daily", {}):
        raise Boom
    assert store.get_run("run-2") is None
    with store.transaction(), store.run("run-2", "daily", {}):
        store.upsert_intel_item(make_item(run_id="run-2"))
    assert end(store) == ("completed", None, True)


def test_block_is_entered_once(store: StateStore) -> None:
    run = store.run("run-2", "daily", {})
    with run:
        with pytest.raises(RunExistsError, match="own store"), run:
            pass
        assert end(store) == ("running", None, False)
    with pytest.raises(RunExistsError), run:
        pass
    assert end(store) == ("completed", None, True)


def test_block_that_is_not_entered_yet_has_no_run(store: StateStore) -> None:
    run = store.run("run-2", "daily", {})
    for use in (lambda: run.record, lambda: run.started_at, lambda: run.finish("completed")):
        with pytest.raises(RunNotFoundError, match="run 'run-2': it was not started yet"):
            use()
    with run:
        assert run.record.started_at == run.started_at
    assert store.count_runs(status="completed") == 1


def test_run_that_is_there_is_left_alone(store: StateStore) -> None:
    before = everything(store)
    with pytest.raises(RunExistsError), store.run("run-1", "daily", {}):
        raise AssertionError("unreachable")
    assert everything(store) == before


def test_run_recovered_meanwhile_is_not_completed(store: StateStore) -> None:
    with pytest.raises(RunFinishedError, match="run-2"), store.run("run-2", "daily", {}):
        assert [run.run_id for run in store.recover_stale_runs(0)] == ["run-1", "run-2"]
        with pytest.raises(RunFinishedError):
            store.heartbeat("run-2")
        recovered = end(store)
    assert end(store) == recovered


def test_failure_to_finish_is_a_note_of_the_users_exception(store: StateStore) -> None:
    error = Boom("mine")
    with pytest.raises(Boom) as caught, store.run("run-2", "daily", {}):
        store.recover_stale_runs(0)
        raise error
    assert caught.value is error
    [note] = error.__notes__
    assert "run-2" in note
    assert "RunFinishedError" in note
    assert end(store)[0] == "crashed"


def test_store_closed_inside_the_block(lasting: Engine) -> None:
    store = lasting.open()
    with pytest.raises(StoreClosedError), store.run("run-2", "daily", {}):
        store.close()
    store = lasting.open()
    with pytest.raises(Boom) as caught, store.run("run-3", "daily", {}):
        store.close()
        raise Boom
    assert "StoreClosedError" in caught.value.__notes__[0]
    with lasting.open() as again:
        assert [run.status for run in again.list_runs()] == ["running", "running"]


@pytest.mark.parametrize("closes", [True, False])
def test_forked_child_leaves_the_run_to_its_parent(lasting: Engine, closes: bool) -> None:
    assert in_process(lives.fork_in_the_block, lasting.location, closes) == [True, False, True, True]
    with lasting.open() as store:
        assert end(store, "run-1") == ("completed", None, True)


def test_stale_run_is_finished_and_returned(lasting: Engine, store: StateStore) -> None:
    store.start_run("run-2", "weekly", [1])
    store.heartbeat("run-2")
    then = age(lasting, 3600, "runs.heartbeat_at")
    before = datetime.now(UTC).isoformat()
    recovered = store.recover_stale_runs(timedelta(minutes=59))
    assert recovered == list(reversed(store.list_runs()))
    assert [(run.run_id, run.status, run.notes) for run in recovered] == [
        (run_id, "crashed", f"no sign of life since {then}") for run_id in ("run-1", "run-2")
    ]
    assert recovered[1].settings_snapshot_json == [1]
    assert recovered[1].finished_at is not None
    assert before <= recovered[1].finished_at <= datetime.now(UTC).isoformat()
    assert store.recover_stale_runs(timedelta(minutes=59)) == []


def test_notes_and_status_of_a_stale_run(lasting: Engine, store: StateStore) -> None:
    lasting.edit("runs", {"run_id": "run-1"}, notes="by hand")
    age(lasting, 3600)
    [run] = store.recover_stale_runs(60, "lost")
    assert (run.status, run.notes) == ("lost", "by hand")


def test_item_that_a_later_run_sees_again_is_no_sign_of_life_of_the_run_that_it_stays_with(
    lasting: Engine, store: StateStore
) -> None:
    store.upsert_intel_item(make_item("a"))
    age(lasting, 7200)
    store.start_run("later", "daily", {})
    store.upsert_intel_item({**make_item("a"), "run_id": "later", "title": "seen again"})
    assert [run.run_id for run in store.recover_stale_runs(3600)] == ["run-1"]


@pytest.mark.parametrize(
    "sign",
    [
        "runs.started_at",
        "runs.heartbeat_at",
        "intel_items.created_at",
        "telemetry.created_at",
    ],
)
def test_each_sign_of_life_counts(lasting: Engine, store: StateStore, sign: str) -> None:
    store.upsert_intel_items_batch(make_item(f"{index}") for index in range(3))
    store.write_telemetry("run-1", {})
    then = age(lasting, 3600, sign)
    assert store.recover_stale_runs(3700) == []
    assert end(store, "run-1") == ("running", None, False)
    [run] = store.recover_stale_runs(3500)
    assert run.notes == f"no sign of life since {then}"


def test_only_running_runs_are_recovered(lasting: Engine, store: StateStore) -> None:
    store.finish_run("run-1", "partial")
    store.start_run("pruned", "daily", {})
    age(lasting, 3600)
    lasting.edit("runs", {"run_id": "pruned"}, pruned_at="now")
    before = everything(store)
    assert store.recover_stale_runs(60) == []
    assert everything(store) == before


def test_force_is_a_bool_and_makes_no_run(store: StateStore) -> None:
    with pytest.raises(InvalidTypeError, match="force"):
        store.finish_run("run-1", "completed", force=1)  # type: ignore[arg-type]
    with pytest.raises(RunNotFoundError):
        store.finish_run("run-9", "completed", force=True)


@pytest.mark.parametrize("older_than", [-1, float("nan"), float("inf"), timedelta(-1), timedelta.max, 10**400])
def test_span_that_is_none_is_refused(store: StateStore, older_than: Any) -> None:
    with pytest.raises(InvalidValueError, match="older_than"):
        store.recover_stale_runs(older_than)


@pytest.mark.parametrize("older_than", [None, "60", True])
def test_span_of_another_type_is_refused(store: StateStore, older_than: Any) -> None:
    with pytest.raises(InvalidTypeError, match="older_than"):
        store.recover_stale_runs(older_than)


def test_span_longer_than_time_finds_nothing(lasting: Engine, store: StateStore) -> None:
    age(lasting, 3600)
    assert store.recover_stale_runs(1e11) == []


def test_status_says_that_a_run_is_over(store: StateStore) -> None:
    with pytest.raises(InvalidValueError, match="status"):
        store.recover_stale_runs(60, "running")
    with pytest.raises(InvalidTypeError, match="status"):
        store.recover_stale_runs(60, None)  # type: ignore[arg-type]


def test_recovery_inside_a_transaction_is_refused_there_alone(store: StateStore) -> None:
    with store.transaction(), pytest.raises(TransactionError, match="leave it first"):
        store.recover_stale_runs(60)
    assert in_thread(store.recover_stale_runs, 60) == []


def test_recovery_of_a_run_that_has_just_started(engine: Engine) -> None:
    with engine.open() as store:
        with store.run("run-1", "daily", {}):
            pass
        store.start_run("run-2", "daily", {})
        assert [run.run_id for run in store.recover_stale_runs(0)] == ["run-2"]


@pytest.mark.parametrize("sign", ["runs.started_at", "runs.heartbeat_at", "intel_items.created_at"])
def test_sign_of_life_ahead_of_the_clock_is_one_of_now(lasting: Engine, store: StateStore, sign: str) -> None:
    """It is stored so: a dead run is found when it is old enough."""
    store.upsert_intel_item(make_item("a"))
    age(lasting, 7200)
    table, column = sign.split(".")
    ahead = "2038-01-01T00:00:00+00:00"
    lasting.edit(table, None, **{column: ahead})
    if column != "heartbeat_at":
        lasting.edit("runs", heartbeat_at=None)
    before = datetime.now(UTC).isoformat()
    assert store.recover_stale_runs(3600) == []
    [run] = store.list_runs()
    assert run.heartbeat_at is not None
    assert before <= run.heartbeat_at <= datetime.now(UTC).isoformat()
    lasting.edit("runs", heartbeat_at=before)
    assert store.recover_stale_runs(3600) == []
    [recovered] = store.recover_stale_runs(0)
    assert recovered.notes == f"no sign of life since {before}"
