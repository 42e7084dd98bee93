"""The SQL trace: each statement once, when its call is over; and whatever a handler does, no call hangs or fails."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from orchestrator.state_store import InvalidTypeError, RunExistsError, StateStore

from tests.helpers import Boom, assert_free, in_process, in_thread, in_threads, item_ids, make_item
from tests.programs import traces

LOGGER = logging.getLogger("orchestrator.state_store")
KEPT = 10_000
UPSERT = "INSERT INTO intel_items("

Take = Callable[[logging.LogRecord], object]


class Handler(logging.Handler):
    """Keeps the records, and does something with each."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.then: Take = lambda record: None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it; what goes wrong then is not swallowed, as `logging`'s own handlers swallow it."""
        self.records.append(record)
        self.then(record)

    def take(self) -> list[str]:
        """Return the first line of each statement since the last time."""
        taken = [vars(record)["sql"].partition("\n")[0] for record in self.records]
        self.records.clear()
        return taken


@pytest.fixture
def handler() -> Iterator[Handler]:
    handler = Handler()
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    yield handler
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.removeHandler(handler)


@pytest.fixture
def traced(path: Path, handler: Handler) -> Iterator[StateStore]:
    """Open a store that is traced, with the run `run-1` in it."""
    with StateStore(path, trace_sql=True) as store:
        store.start_run("run-1", "daily", {})
        handler.records.clear()
        yield store


def test_record_has_text_and_time_and_no_bound_value(traced: StateStore, handler: Handler) -> None:
    traced.upsert_intel_item(make_item("secret-id", title="secret-title"))
    for record in handler.records:
        sql, milliseconds = vars(record)["sql"], vars(record)["milliseconds"]
        assert (record.name, record.levelno, record.args) == (LOGGER.name, logging.DEBUG, (sql, milliseconds))
        assert record.getMessage() == f"{sql} ({milliseconds:.3f} ms)"
        assert "secret" not in record.getMessage()
        assert vars(record)["db_path"] == str(traced.db_path)
        assert 0 < milliseconds < 10_000
    assert [sql for sql in handler.take() if not sql.startswith("SELECT")] == ["BEGIN IMMEDIATE", UPSERT, "COMMIT"]


def test_time_is_that_of_the_statement(traced: StateStore, handler: Handler) -> None:
    """SQLite's own measure is in whole milliseconds."""
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT sum(i) FROM n"
    for limit in (10, 10_000):
        traced.connection.execute(count.format(limit))
    short, *_, long = [record for record in handler.records if "RECURSIVE" in record.getMessage()]
    assert 0 < vars(short)["milliseconds"] < vars(long)["milliseconds"]
    assert vars(short)["milliseconds"] % 1


def test_transaction_shows_each_step_when_it_is_over(traced: StateStore, handler: Handler) -> None:
    with traced.transaction():
        assert handler.take() == ["BEGIN IMMEDIATE"]
        with traced.transaction():
            assert handler.take() == ["SAVEPOINT level_1"]
        assert handler.take() == ["RELEASE level_1"]
    assert handler.take() == ["COMMIT"]
    with contextlib.suppress(Boom), traced.transaction():
        raise Boom
    assert handler.take() == ["BEGIN IMMEDIATE", "ROLLBACK"]


def test_call_that_fails_is_shown(traced: StateStore, handler: Handler) -> None:
    with pytest.raises(RunExistsError):
        traced.start_run("run-1", "daily", {})
    taken = handler.take()
    assert (taken[0], taken[-1]) == ("BEGIN IMMEDIATE", "ROLLBACK")


def batch(store: StateStore) -> None:
    store.upsert_intel_items_batch(make_item(f"{index}") for index in range(1000))


def long_list(store: StateStore) -> None:
    assert len(store.list_intel_items_for_run("run-1")) == 1000


def long_query(store: StateStore) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT sum(i) FROM n"
    store.connection.execute(endless)


CALLS: dict[str, tuple[Callable[[StateStore], object], str]] = {
    "batch": (batch, UPSERT),
    "long list": (long_list, "SELECT item_id, run_id"),
    "long query": (long_query, "WITH RECURSIVE"),
    "check": (lambda store: store.check(), "PRAGMA integrity_check"),
    "vacuum": (lambda store: store.vacuum(full=True), "VACUUM"),
    "prune": (lambda store: store.prune(keep_last=0), "DELETE FROM intel_items"),
    "checkpoint": (lambda store: store.checkpoint(), "PRAGMA journal_mode"),
    "backup": (lambda store: store.backup(store.db_path.with_name("copy.db")), "PRAGMA integrity_check"),
    "iterator": (lambda store: list(store.iter_intel_items()), "SELECT item_id, run_id"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_other_threads_and_connections_run_for_a_call_is_shown_with_it(
    traced: StateStore, handler: Handler, name: str
) -> None:
    batch(traced)
    traced.finish_run("run-1", "completed")
    handler.records.clear()
    call, sql = CALLS[name]
    call(traced)
    taken = handler.take()
    assert any(each.startswith(sql) for each in taken), taken
    traced.stats()
    assert not any(each.startswith(sql) for each in handler.take())


@pytest.mark.parametrize("kind", ["new", "old", "read-only", "in memory"])
def test_opening_is_shown(path: Path, handler: Handler, kind: str) -> None:
    if kind in ("old", "read-only"):
        StateStore(path).close()
    where = ":memory:" if kind == "in memory" else path
    with StateStore(where, trace_sql=True, read_only=kind == "read-only"):
        taken = handler.take()
        assert "PRAGMA user_version" in taken
        assert ("CREATE TABLE IF NOT EXISTS runs (" in taken) == (kind in ("new", "in memory"))


def test_newest_are_kept_and_the_others_counted(traced: StateStore, handler: Handler) -> None:
    traced.upsert_intel_items_batch(make_item(f"{index}") for index in range(KEPT + 1000))
    first, *others = handler.records
    assert (first.msg, vars(first)["sql"]) == ("%d statements not shown", "")
    assert isinstance(first.args, tuple)
    [count] = first.args
    assert isinstance(count, int)
    assert 1000 < count < 1100
    assert len(others) == KEPT
    assert others[-1].getMessage().startswith("COMMIT ")
    handler.records.clear()
    traced.stats()
    assert handler.take()[-1].startswith("SELECT 'status'")


def test_handler_may_use_the_store_and_is_not_traced_itself(traced: StateStore, handler: Handler) -> None:
    """Traced, each statement of the handler's would bring about more of them."""
    written = iter(range(1000))

    def use(_: logging.LogRecord) -> None:
        traced.upsert_intel_item(make_item(f"handler-{next(written)}"))
        assert item_ids(traced)

    handler.then = use
    traced.start_run("run-2", "daily", {})
    assert handler.take()[1].startswith("INSERT INTO runs(")
    with traced.transaction():
        traced.stats()
        handler.records.clear()
    assert handler.take() == ["COMMIT"]
    handler.then = lambda _: None
    traced.close()
    assert handler.take() == []


@pytest.mark.parametrize("name", CALLS)
def test_what_works_for_a_handler_is_not_traced_either(traced: StateStore, handler: Handler, name: str) -> None:
    """A list in a handler had the next call show more of them, and that one more again, up to all that is kept."""
    batch(traced)
    traced.finish_run("run-1", "completed")
    call, sql = CALLS[name]
    called: list[logging.LogRecord] = []

    def use(_: logging.LogRecord) -> None:
        handler.then = called.append
        call(traced)

    handler.then = use
    traced.start_run("run-2", "daily", {})
    assert called
    handler.records.clear()
    traced.stats()
    assert not any(each.startswith(sql) for each in handler.take())


def test_each_statement_is_shown_once_to_a_handler_of_several_threads(traced: StateStore, handler: Handler) -> None:
    """One thread's call may show what another's has run."""

    def write(name: int) -> None:
        for index in range(50):
            traced.upsert_intel_item(make_item(f"{name}-{index}"))
            traced.get_intel_item(f"{name}-{index}")

    in_threads([partial(write, name) for name in range(4)])
    traced.stats()
    taken = Counter(handler.take())
    assert taken[UPSERT] == 200
    assert taken["BEGIN IMMEDIATE"] == taken["COMMIT"] <= 200


def test_nothing_is_held_while_a_handler_runs(traced: StateStore, handler: Handler) -> None:
    """Neither the writer's turn, nor the file's lock, nor the interpreter."""
    with StateStore(traced.db_path, busy_timeout=0) as other:
        handler.then = lambda record: in_thread(other.upsert_intel_item, make_item(record.getMessage()))
        traced.upsert_intel_item(make_item())
        assert handler.take()[-1] == "COMMIT"
        handler.then, then = (lambda _: None), handler.then
        with contextlib.suppress(Boom), traced.transaction():
            handler.then = then
            raise Boom
    assert handler.take() == ["BEGIN IMMEDIATE", "ROLLBACK"]


class Stop(BaseException):
    """What a framework ends a task with."""


def fail(kind: type[BaseException]) -> Take:
    def then(_: logging.LogRecord) -> None:
        raise kind("of the handler")

    return then


def test_call_that_is_done_does_not_fail_for_its_handler(
    traced: StateStore, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: told.append(raised.exc_value))
    handler.then = fail(ValueError)
    with traced.transaction():
        traced.upsert_intel_item(make_item())
    assert item_ids(traced) == ["item-1"]
    assert {type(error) for error in told} == {ValueError}


def test_what_ends_a_task_passes_and_leaves_nothing_open(traced: StateStore, handler: Handler) -> None:
    handler.then = fail(Stop)
    transaction = traced.transaction()
    with pytest.raises(Stop):
        transaction.__enter__()
    handler.then = lambda _: None
    assert_free(traced)
    handler.then = fail(Stop)
    with pytest.raises(Stop):
        traced.upsert_intel_item(make_item("done"))
    with pytest.raises(Stop), traced.transaction():
        pytest.fail("it was entered")
    handler.then = lambda _: None
    assert item_ids(traced) == ["free", "done"]


@pytest.mark.parametrize("when", ["in a handler", "while others are traced"])
def test_forked_child_goes_on_with_a_trace_of_its_own(path: Path, when: str) -> None:
    program = traces.fork_in_handler if when == "in a handler" else traces.fork_while_others_are_traced
    assert in_process(program, str(path)) == "well"


def test_nothing_is_traced_unless_it_is_asked_for(path: Path, handler: Handler) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.check()
    assert handler.records == []


def test_handler_that_wants_no_debug_records_gets_none(traced: StateStore, handler: Handler) -> None:
    LOGGER.setLevel(logging.INFO)
    traced.stats()
    LOGGER.setLevel(logging.DEBUG)
    assert handler.records == []


@pytest.mark.parametrize("is_on", [False, True])
def test_logging_is_loaded_only_for_a_trace_and_says_nothing_by_itself(is_on: bool) -> None:
    program = f"""
import sys; sys.path[:] = {sys.path!r}
from orchestrator.state_store import StateStore
with StateStore(":memory:", trace_sql={is_on}) as store:
    store.start_run("run-1", "daily", {{}})
logging = sys.modules.get("logging")
print(logging is not None and [type(each).__name__ for each in logging.getLogger("{LOGGER.name}").handlers])
"""
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{is_on and ['NullHandler']}\n", "")


def test_option_is_a_bool(path: Path) -> None:
    with pytest.raises(InvalidTypeError, match="trace_sql must be a bool, not int"):
        StateStore(path, trace_sql=1)  # type: ignore[arg-type]
    assert not path.exists()
