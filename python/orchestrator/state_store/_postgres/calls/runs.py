"""The calls about runs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from orchestrator.state_store._core import Rows
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.faults import error_of, excerpt
from orchestrator.state_store.exceptions import InvalidValueError, RunExistsError, StateStoreError

if TYPE_CHECKING:
    import psycopg

RUN_COLUMNS = "run_id, run_type, started_at, status, settings_snapshot_json, finished_at, notes, heartbeat_at"

_RECOVERED = "no sign of life since "
"""The beginning of the notes of a recovered run that had no notes; its latest activity follows."""


def refuse_running(status: str) -> None:
    """Refuse `running` as the status of a finished run: it could not be distinguished from a started one.

    Raises
    ------
    InvalidValueError
        When it is that.
    """
    if status == "running":
        raise InvalidValueError(
            'status must be that of a finished run, not "running"; reopen_run continues a recovered run'
        )


class Runs(Engine):
    """Runs: records, heartbeats and recovery."""

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any, if_exists: str) -> str | tuple[Any, ...]:
        """Record a new run and return its `started_at`; or the `RunRecord` fields of an existing one."""
        arguments = self.arguments
        run_id = arguments.text(run_id, "start_run", "run_id")
        operation = f"start_run {excerpt(run_id)}"
        may_exist = arguments.choice(if_exists, operation, "if_exists", ["error", "return"]) == "return"
        run_type = arguments.text(run_type, operation, "run_type")
        settings = arguments.json(settings_snapshot, operation, "settings_snapshot")
        if may_exist:
            # What cannot be returned is refused before its heartbeat is recorded.
            Rows.runs(self.read(operation, lambda session: self._run(session, run_id)), "start_run", False)
        escape = arguments.escape
        # By it the call knows the run that it has started, if the answer was lost.
        token = secrets.token_hex(16)

        def start(session: psycopg.Connection, wait: int | None) -> str | list[tuple[Any, ...]]:
            sql = f"SELECT {self.schema}.start_run_1(%s, %s, %s, %s, %s, %s)"
            while True:
                values = [wait, escape(run_id), escape(run_type), settings, may_exist, token]
                row = session.execute(sql.encode(), values).fetchone()
                if row is not None and row[0] is not None:
                    return str(row[0])
                if not may_exist:
                    raise RunExistsError("there is a run with this run_id already; nothing was changed")
                found = self._run(session, run_id)
                # One that was deleted meanwhile can be started now.
                if found:
                    return found

        started = self.write(
            operation, start, advice="whether the run is there must be looked up before repeating the call"
        )
        if isinstance(started, str):
            return started
        [record] = Rows.runs(started, "start_run", True)
        if record[1] != run_type:
            raise RunExistsError(
                f"{operation}: there is a run with this run_id already, of run_type {excerpt(record[1])} and not "
                f"{excerpt(run_type)}; nothing was changed"
            )
        return record

    def _run(self, session: psycopg.Connection, run_id: str) -> list[tuple[Any, ...]]:
        sql = f"SELECT {RUN_COLUMNS} FROM {self.schema}.runs WHERE run_id = %s AND pruned_at IS NULL"
        return session.execute(sql.encode(), [self.arguments.escape(run_id)]).fetchall()

    def finish_run(self, run_id: str, status: str, notes: str | None, force: bool, *, if_running: bool = False) -> bool:
        """Finish a run; with `force` also one that was recovered, with `if_running` only one that is running."""
        arguments = self.arguments
        force = arguments.flag(force, "finish_run: force")
        run_id = arguments.text(run_id, "finish_run", "run_id")
        operation = f"finish_run {excerpt(run_id)}"
        status = arguments.text(status, operation, "status")
        notes = arguments.optional_text(notes, operation, "notes")
        try:
            refuse_running(status)
        except InvalidValueError as error:
            raise InvalidValueError(f"{operation}: {error}") from None
        escaped = None if notes is None else arguments.escape(notes)
        values = [arguments.escape(run_id), arguments.escape(status), escaped, force, if_running and not force]
        note = "finish_run with force=True sets its status nevertheless"
        self._change(operation, "finish_run_1", run_id, values, note, kept="over" if if_running else None)
        return self.own() is None

    def heartbeat(self, run_id: str) -> None:
        """Record a run's heartbeat."""
        run_id = self.arguments.text(run_id, "heartbeat", "run_id")
        self._change(f"heartbeat {excerpt(run_id)}", "heartbeat_1", run_id, [self.arguments.escape(run_id)])

    def reopen_run(self, run_id: str) -> None:
        """Reopen a run that was recovered."""
        run_id = self.arguments.text(run_id, "reopen_run", "run_id")
        note = "it was not recovered, and accepts writes already"
        values = [self.arguments.escape(run_id), _RECOVERED]
        self._change(f"reopen_run {excerpt(run_id)}", "reopen_run_1", run_id, values, note)

    def _change(
        self,
        operation: str,
        function: str,
        run_id: str,
        values: list[Any],
        note: str = "",
        *,
        kept: str | None = None,
    ) -> None:
        """Call a function that changes a run, or says why not."""
        marks = ", ".join(["%s"] * (len(values) + 1))
        sql = f"SELECT fault, status, recovered_at FROM {self.schema}.{function}({marks})".encode()

        def change(session: psycopg.Connection, wait: int | None) -> None:
            [(fault, status, recovered_at)] = session.execute(sql, [wait, *values]).fetchall()
            if fault is not None and fault != kept:
                raise error_of(fault, run_id, status, recovered_at, note)

        self.write(operation, change)

    def recover_stale_runs(self, older_than: float, status: str, trust_clock: bool) -> list[tuple[Any, ...]]:
        """Finish the runs without a heartbeat or a write for so many seconds; return each's `RunRecord` fields."""
        operation = "recover_stale_runs"
        status = self.arguments.text(status, operation, "status")
        trust_clock = self.arguments.flag(trust_clock, f"{operation}: trust_clock")
        try:
            self.refuse_closed()
            refuse_running(status)
            self.refuse_inside("no run can record a heartbeat while a transaction is open: leave it first")
        except StateStoreError as error:
            raise type(error)(f"{operation}: {error}") from None
        columns = f"{RUN_COLUMNS}, seq"
        sql = f"SELECT {columns} FROM {self.schema}.recover_1(%s, %s, %s, %s) ORDER BY seq".encode()

        def recover(session: psycopg.Connection, wait: int | None) -> list[tuple[Any, ...]]:
            values = [wait, older_than, self.arguments.escape(status), _RECOVERED]
            return session.execute(sql, values).fetchall()

        if not trust_clock:
            self.read(operation, lambda session: self._check_clock(session, older_than))
        advice = "repeating the call is safe: it returns those that are not finished yet"
        found = self.write(operation, recover, advice=advice, repeats=False)
        return Rows.runs([row[:-1] for row in found], operation, True)

    def _check_clock(self, session: psycopg.Connection, older_than: float) -> None:
        """Refuse a clock that is not to be believed, if there is a run that would be recovered by it."""
        schema = self.schema
        sql = f"SELECT EXISTS (SELECT FROM {schema}.silent_1({schema}.ago_1(%s), {schema}.now_1()))"
        if session.execute(sql.encode(), [older_than]).fetchall() == [(True,)]:
            self.clock.check(session)

    def get_run(self, run_id: str) -> tuple[Any, ...] | None:
        """Return the fields of a run's `RunRecord`; None if there is no such run."""
        run_id = self.arguments.text(run_id, "get_run", "run_id")
        found = self.read(f"get_run {excerpt(run_id)}", lambda session: self._run(session, run_id))
        return next(iter(Rows.runs(found, "get_run", False)), None)
