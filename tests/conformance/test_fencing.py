# ruff: noqa: PT012 - what a block does before it fails is the point
"""A worker that was declared dead and goes on writing changes nothing, until its run is reopened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from orchestrator.state_store import (
    InvalidTypeError,
    InvalidValueError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    RunRecord,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.conformance.seen import everything
from tests.helpers import Boom, in_threads, item_ids, make_item

FENCED = r'the run "dead" .*was recovered at .*nothing was changed.*reopen_run'


def write_job(store: StateStore, run_id: str, title: str) -> None:
    store.upsert_intel_item(make_item("job", run_id, title=title))


WRITES: dict[str, Callable[[StateStore], object]] = {
    "upsert": lambda store: write_job(store, "dead", "stale"),
    "upsert of a new item": lambda store: store.upsert_intel_item(make_item("new", "dead")),
    "batch of one": lambda store: store.upsert_intel_items_batch([make_item("job", "dead", title="stale")]),
    "batch": lambda store: store.upsert_intel_items_batch(make_item(f"{n}", "dead") for n in range(5)),
    "long batch": lambda store: store.upsert_intel_items_batch(make_item(f"{n}", "dead") for n in range(2000)),
    "telemetry": lambda store: store.write_telemetry("dead", {"late": True}),
    "merge of telemetry": lambda store: store.merge_telemetry("dead", {"late": True}),
    "delete_intel_item": lambda store: store.delete_intel_item("job"),
    "heartbeat": lambda store: store.heartbeat("dead"),
    "finish_run": lambda store: store.finish_run("dead", "completed"),
}
"""All that a worker can say of its run."""


@pytest.fixture
def store(engine: Engine) -> Iterator[StateStore]:
    """Open a store with the run `dead`, which recorded an item and was recovered, and `next`, which does it again."""
    with engine.open() as store:
        store.start_run("dead", "daily", {})
        write_job(store, "dead", "half of it")
        assert [run.run_id for run in store.recover_stale_runs(0)] == ["dead"]
        store.start_run("next", "daily", {})
        yield store


def test_merge_with_what_is_no_object_is_refused_for_that_before_all(store: StateStore) -> None:
    store.write_telemetry("dead", [], force=True)
    with pytest.raises(InvalidValueError, match="not a JSON object"):
        store.merge_telemetry("dead", {"late": True})
    assert store.get_telemetry("dead") == []


def get(store: StateStore, run_id: str = "dead") -> RunRecord:
    run = store.get_run(run_id)
    assert run is not None
    return run


@pytest.mark.parametrize("whose", ["its own", "another process's"])
@pytest.mark.parametrize("write", WRITES)
def test_worker_that_was_declared_dead_is_refused(lasting: Engine, write: str, whose: str) -> None:
    """It overwrote the next try's item and erased what was decided on it."""
    worker = lasting.open()
    worker.start_run("dead", "daily", {})
    write_job(worker, "dead", "half of it")
    with worker, lasting.open() as other:
        store = other if whose == "another process's" else worker
        store.recover_stale_runs(0)
        store.start_run("next", "daily", {})
        write_job(store, "next", "all of it")
        store.decide("job", "promote", "checked")
        store.finish_run("next", "completed")
        before = everything(store)
        for _ in range(2):
            with pytest.raises(RunFinishedError, match=FENCED):
                WRITES[write](worker)
        assert everything(store) == before
        job = store.get_intel_item("job")
        assert job is not None
        assert (job["title"], job["decision"], job["decision_reason"]) == ("all of it", "promote", "checked")


@pytest.mark.parametrize("write", WRITES)
def test_write_that_is_refused_in_a_transaction_undoes_itself_alone(store: StateStore, write: str) -> None:
    with store.transaction():
        write_job(store, "next", "before")
        with pytest.raises(RunFinishedError, match=FENCED):
            WRITES[write](store)
        store.upsert_intel_item(make_item("after", "next"))
    assert [(item["item_id"], item["title"]) for item in store.list_intel_items()] == [
        ("job", "before"),
        ("after", "t"),
    ]


def test_dead_run_that_is_started_again_is_returned_and_stays_dead(store: StateStore) -> None:
    before = everything(store)
    again = store.start_run("dead", "daily", {}, if_exists="return")
    assert (again, again.status) == (get(store), "crashed")
    assert everything(store) == before
    with pytest.raises(RunFinishedError, match=FENCED):
        write_job(store, "dead", "stale")
    store.reopen_run("dead")
    assert store.start_run("dead", "daily", {}, if_exists="return").status == "running"
    write_job(store, "dead", "all of it")


def test_items_of_a_dead_run_are_there_for_everybody_else(store: StateStore) -> None:
    write_job(store, "next", "all of it")
    store.upsert_intel_items_batch([make_item("job", "next", title="all of it, again"), make_item("more", "next")])
    store.decide("job", "promote")
    store.decide_batch({"job": ("block", "not fixed")})
    assert [(item["title"], item["decision"]) for item in store.list_intel_items_for_run("dead")] == [
        ("all of it, again", "block")
    ]
    assert store.delete_run("dead").intel_items == 1


@pytest.mark.parametrize("count", [5, 2000], ids=["batch", "batch in slices"])
@pytest.mark.parametrize("at", [0, 1, -1])
def test_mixed_batch_is_refused_as_a_whole_and_names_the_first_item(store: StateStore, count: int, at: int) -> None:
    before = everything(store)
    at %= count
    items = [make_item(f"{number}", "next") for number in range(count)]
    items[at:] = [{**item, "run_id": "dead"} for item in items[at:]]
    with pytest.raises(RunFinishedError, match=rf'^upsert_intel_items_batch: item {at} \("{at}"\): {FENCED}'):
        store.upsert_intel_items_batch(items)
    assert everything(store) == before


def test_runs_of_a_batch_that_alternate_are_each_looked_at(store: StateStore) -> None:
    store.start_run("third", "daily", {})
    items = [make_item(f"{number}", ("next", "third")[number % 2]) for number in range(9)]
    store.upsert_intel_items_batch(items)
    with pytest.raises(RunFinishedError, match="item 9"):
        store.upsert_intel_items_batch([*items, make_item("9", "dead")])
    with pytest.raises(RunNotFoundError, match="item 9"):
        store.upsert_intel_items_batch([*items, make_item("9", "nowhere"), make_item("10", "dead")])
    assert (len(item_ids(store, "next")), len(item_ids(store, "third"))) == (5, 4)


def work_beside_a_dead_worker(store: StateStore) -> None:
    """Write in many threads, some of them for the run `dead`; check what each is told, and what is there."""

    def work(name: str) -> list[str]:
        outcomes = []
        for number in range(60):
            run_id = "dead" if number % 3 == 0 or name == "0" else "next"
            batch = [make_item(f"{name}-{number}-{part}", run_id) for part in range(1 + number % 2)]
            try:
                store.upsert_intel_items_batch(batch)
            except RunFinishedError:
                outcomes += ["refused"] * (run_id == "dead")
            else:
                outcomes += [item["item_id"] for item in batch if run_id == "next"]
        return outcomes

    told = [
        outcome for outcomes in in_threads([partial(work, f"{number}") for number in range(6)]) for outcome in outcomes
    ]
    written = [outcome for outcome in told if outcome != "refused"]
    assert sorted(item_ids(store, "next")) == sorted(written)
    assert told.count("refused") == 60 + 5 * 20
    assert store.count_intel_items() == len(written) + 1


def test_threads_beside_a_dead_worker_are_not_disturbed(store: StateStore) -> None:
    work_beside_a_dead_worker(store)


def test_end_by_force_keeps_the_worker_out(store: StateStore) -> None:
    """It once let it in again, though an operator only wanted to say how the run ended."""
    store.finish_run("dead", "abandoned", "its machine slept", force=True)
    assert (get(store).status, get(store).notes) == ("abandoned", "its machine slept")
    before = everything(store)
    for write in WRITES.values():
        with pytest.raises(RunFinishedError, match=r'its status is "abandoned"'):
            write(store)
    assert everything(store) == before
    store.finish_run("dead", "lost", force=True)
    assert (get(store).status, get(store).notes) == ("lost", None)


def test_run_that_another_program_calls_running_is_not_alive_by_that(lasting: Engine, store: StateStore) -> None:
    lasting.edit("runs", {"run_id": "dead"}, status="running")
    for write in WRITES.values():
        with pytest.raises(RunFinishedError, match=FENCED):
            write(store)
    store.write_telemetry("dead", 1, force=True)
    with pytest.raises(RunActiveError):
        store.delete_run("dead")
    assert "dead" in [run.run_id for run in store.recover_stale_runs(0)]


def test_operators_remarks_on_a_dead_run(store: StateStore) -> None:
    with pytest.raises(RunFinishedError, match=r'^write_telemetry "dead": .*write_telemetry with force=True'):
        store.write_telemetry("dead", 1)
    run = get(store)
    store.write_telemetry("dead", {"cause": "its machine slept"}, force=True)
    assert store.get_telemetry("dead") == {"cause": "its machine slept"}
    assert get(store) == run
    with pytest.raises(RunFinishedError):
        store.write_telemetry("dead", 2)
    store.write_telemetry("next", 3, force=True)
    assert (store.get_telemetry("dead"), store.get_telemetry("next")) == ({"cause": "its machine slept"}, 3)


def test_force_of_telemetry_is_a_bool_and_makes_no_run(store: StateStore) -> None:
    with pytest.raises(InvalidTypeError, match=r"^write_telemetry: force must be a bool"):
        store.write_telemetry("dead", 1, force=1)  # type: ignore[arg-type]
    with pytest.raises(RunNotFoundError, match="nowhere"):
        store.write_telemetry("nowhere", 1, force=True)
    with pytest.raises(TypeError):
        store.write_telemetry("dead", 1, True)  # type: ignore[call-arg]


def test_error_says_what_else_can_be_done(store: StateStore) -> None:
    with pytest.raises(RunFinishedError, match=rf'^finish_run "dead": {FENCED}.*; finish_run with force=True'):
        store.finish_run("dead", "completed")
    with pytest.raises(RunFinishedError, match=rf'^upsert_intel_item "job": {FENCED}'):
        write_job(store, "dead", "stale")
    with pytest.raises(RunExistsError):
        store.start_run("dead", "daily", {})


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_run_that_was_merely_finished_takes_writes(store: StateStore, status: str) -> None:
    """As it always did."""
    store.finish_run("next", status)
    write_job(store, "next", "late")
    store.upsert_intel_items_batch([make_item("late", "next")])
    store.write_telemetry("next", 1)
    store.finish_run("next", "partial", "late")
    assert (item_ids(store, "next"), get(store, "next").notes) == (["late"], "late")


@pytest.mark.parametrize("forced", [False, True])
def test_reopened_run_goes_on(lasting: Engine, store: StateStore, forced: bool) -> None:
    if forced:
        store.finish_run("dead", "lost", force=True)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    lasting.edit("runs", started_at=yesterday, heartbeat_at=yesterday)
    lasting.edit("intel_items", created_at=yesterday)
    settings, before = get(store).settings_snapshot_json, datetime.now(UTC).isoformat()
    store.reopen_run("dead")
    run = get(store)
    assert (run.status, run.finished_at, run.notes, run.settings_snapshot_json) == ("running", None, None, settings)
    assert [row["recovered_at"] for row in lasting.rows("runs")] == [None, None]
    assert run.heartbeat_at is not None
    assert before <= run.heartbeat_at <= datetime.now(UTC).isoformat()
    assert [run.run_id for run in store.recover_stale_runs(60)] == ["next"], "it was recovered at once"
    for write in WRITES.values():
        write(store)
    assert get(store).status == "completed"
    assert store.get_telemetry("dead") == {"late": True}
    assert len(item_ids(store, "dead")) == 2001


def test_run_that_is_reopened_can_be_recovered_again(store: StateStore) -> None:
    """And its notes say when it gave its last sign since, not the one before."""
    before = get(store).notes
    store.reopen_run("dead")
    sign = get(store).heartbeat_at
    [run] = [run for run in store.recover_stale_runs(0) if run.run_id == "dead"]
    assert run.notes == f"no sign of life since {sign}" != before
    with pytest.raises(RunFinishedError, match=FENCED):
        write_job(store, "dead", "stale")


@pytest.mark.parametrize(
    "notes",
    [
        "by hand",
        "",
        "no sign of life since ",
        "no sign of life since 2026-01-01T00:00:00+00:00, says the operator",
        "no sign of life since yesterday",
        "No sign of life since 2026-01-01T00:00:00+00:00",
    ],
)
def test_notes_of_anybody_else_outlive_reopening(store: StateStore, notes: str) -> None:
    store.finish_run("dead", "lost", notes, force=True)
    store.reopen_run("dead")
    assert get(store).notes == notes


def test_reopening_a_run_that_is_running_is_a_sign_of_life(store: StateStore) -> None:
    for _ in range(2):
        store.reopen_run("next")
    store.finish_run("dead", "lost", "by hand", force=True)
    for _ in range(2):
        store.reopen_run("dead")
    runs = {run.run_id: run for run in store.list_runs()}
    assert [(run.status, run.finished_at) for run in runs.values()] == [("running", None)] * 2
    assert (runs["dead"].notes, runs["next"].notes) == ("by hand", None)
    assert None not in (runs["dead"].heartbeat_at, runs["next"].heartbeat_at)


def test_run_that_was_merely_finished_is_not_reopened(store: StateStore) -> None:
    store.finish_run("next", "failed", "no network")
    before = everything(store)
    message = r'^reopen_run "next": the run is over: its status is "failed"; nothing was changed; it was not recovered'
    with pytest.raises(RunFinishedError, match=message):
        store.reopen_run("next")
    assert everything(store) == before


def test_run_that_is_not_there_is_not_reopened(lasting: Engine, store: StateStore) -> None:
    lasting.edit("runs", {"run_id": "dead"}, pruned_at="now")
    for run_id in ("nowhere", "dead"):
        with pytest.raises(RunNotFoundError, match=rf'^reopen_run "{run_id}": there is no run'):
            store.reopen_run(run_id)
    with pytest.raises(RunNotFoundError):
        write_job(store, "dead", "stale")
    with pytest.raises(InvalidTypeError, match="run_id"):
        store.reopen_run(5)  # type: ignore[arg-type]


def test_reopening_goes_with_its_transaction(store: StateStore) -> None:
    with pytest.raises(Boom), store.transaction():
        store.reopen_run("dead")
        write_job(store, "dead", "in a transaction")
        raise Boom
    with pytest.raises(RunFinishedError, match=FENCED):
        write_job(store, "dead", "stale")


def test_block_whose_run_is_reopened_ends_as_if_nothing_had_been(store: StateStore) -> None:
    with store.run("run-2", "daily", {}) as run:
        store.recover_stale_runs(0)
        refused: list[Callable[[], Any]] = [
            lambda: store.upsert_intel_item(make_item("a", "run-2")),
            lambda: run.finish("partial"),
        ]
        for write in refused:
            with pytest.raises(RunFinishedError, match="reopen_run"):
                write()
        store.reopen_run("run-2")
        store.upsert_intel_item(make_item("a", "run-2"))
    assert (get(store, "run-2").status, item_ids(store, "run-2")) == ("completed", ["a"])


def test_block_of_a_run_that_was_finished_by_force_says_so(store: StateStore) -> None:
    with pytest.raises(RunFinishedError, match=r'"run-2".*its status is "lost"'), store.run("run-2", "daily", {}):
        store.recover_stale_runs(0)
        store.finish_run("run-2", "lost", "by hand", force=True)
    assert (get(store, "run-2").status, get(store, "run-2").notes) == ("lost", "by hand")


def test_fence_outlives_the_store(lasting: Engine) -> None:
    with lasting.open() as store:
        store.start_run("dead", "daily", {})
        store.recover_stale_runs(0)
    with lasting.open() as store:
        with pytest.raises(RunFinishedError, match=FENCED):
            write_job(store, "dead", "stale")
        store.reopen_run("dead")
    with lasting.open() as store:
        write_job(store, "dead", "late")


def test_fence_is_for_every_write_until_the_run_is_reopened(store: StateStore) -> None:
    for write in WRITES.values():
        with pytest.raises(RunFinishedError, match=FENCED):
            write(store)
    store.reopen_run("dead")
    write_job(store, "dead", "late")
