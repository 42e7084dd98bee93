"""The calls of `StateStore` about runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.state_store.active_run import ActiveRun
from orchestrator.state_store.late import importing
from orchestrator.state_store.records.run import RunRecord, record_of

if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Literal

    from orchestrator.state_store.core import Core


class Runs:
    """Runs: a mixin of `StateStore`."""

    _core: Core

    def run(self, run_id: str, run_type: str, settings_snapshot: Any) -> ActiveRun:
        """Return a context manager that starts a run, records a heartbeat every two seconds, and finishes it.

        It is finished as `completed`; as `failed` when an exception leaves the block, with the reason in its notes, 4
        kB at most; as `cancelled` when that is KeyboardInterrupt, GeneratorExit, a SystemExit of 0 or None, or how
        asyncio, trio, greenlet and gevent cancel, or a group of nothing but those. The exception propagates unchanged;
        if the run cannot be finished, it gets a note that says why. A run that was finished inside the block stays as
        it is.

        A native thread records the heartbeats, so that code that holds the GIL for a long time does not make the run
        look dead. A forked child records none, and leaving the block there does nothing.

        Parameters
        ----------
        run_id, run_type, settings_snapshot
            As of `start_run`, which is called when the block is entered.

        Returns
        -------
        ActiveRun
            It can be entered once. It has `run_id`, `started_at`, `record`, and `finish(status, notes)` for another
            status.

        Raises
        ------
        RunExistsError
            On entering, when a run with this run_id exists, or the block was entered before.
        RunFinishedError
            When the run was recovered and not reopened: inside the block on each write for it, and on leaving.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     with store.run("run-1", "daily", {"limit": 10}) as run:
        ...         store.write_telemetry(run.run_id, {"seconds": 0.5})
        ...     row = store.connection.execute("SELECT status FROM runs").fetchone()
        >>> row["status"]
        'completed'
        """
        return ActiveRun(self._core, run_id, lambda: self.start_run(run_id, run_type, settings_snapshot))

    def start_run(
        self,
        run_id: str,
        run_type: str,
        settings_snapshot: Any,
        *,
        if_exists: Literal["error", "return"] = "error",
    ) -> RunRecord:
        """Record a new run with status `running`.

        Parameters
        ----------
        run_id
            A key that no other run has, unless `if_exists` is `return`.
        run_type
            The kind of run; free text.
        settings_snapshot
            The settings of the run, usually a dict: any value that `json.dumps` accepts.
        if_exists
            With `return`, a run of this type that has the run_id already is returned as it is, so that a step that
            is tried again need not know whether it came so far before. It keeps its settings, and is not started
            again: look at its `status`. If that is `running`, the call counts as a heartbeat. If it was finished, it
            takes writes. If it was recovered, it takes none until `reopen_run`.

        Returns
        -------
        RunRecord
            The run, with `settings_snapshot` itself; an existing run as `get_run` returns it.

        Raises
        ------
        RunExistsError
            When there is a run with this run_id; with `if_exists="return"`, when it is of another type. It stays as it
            is.
        InvalidJSONError
            With `if_exists="return"`, when another program wrote settings that are not valid JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     first = store.start_run("2024-03-01", "daily", {"limit": 10})
        ...     again = store.start_run("2024-03-01", "daily", {"limit": 20}, if_exists="return")
        >>> again.started_at == first.started_at, again.status, again.settings_snapshot_json
        (True, 'running', {'limit': 10})
        """
        started = self._core.start_run(run_id, run_type, settings_snapshot, if_exists)
        if isinstance(started, tuple):
            return record_of(started)
        return RunRecord(run_id, run_type, started, "running", settings_snapshot)

    def finish_run(self, run_id: str, status: str, notes: str | None = None, *, force: bool = False) -> None:
        """Set a run's status and notes, and its `finished_at` to now.

        Parameters
        ----------
        run_id
            The run.
        status
            Free text: `completed`, `partial`, `failed` ...; anything but `running`.
        notes
            Free text, or None; replaces the notes before.
        force
            Finish a recovered run too. Its worker still cannot write: use `reopen_run` if the worker is alive.

        Raises
        ------
        InvalidValueError
            When `status` is `running`; to continue a recovered run, call `reopen_run`.
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it was recovered, without `force`; it stays as it is.
        """
        self._core.finish_run(run_id, status, notes, force)

    def heartbeat(self, run_id: str) -> None:
        """Record a heartbeat; every write for the run counts as one.

        A run in a block of `run` needs no call: it records its own.

        Parameters
        ----------
        run_id
            The run.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it is not running: it was finished or recovered.
        """
        self._core.heartbeat(run_id)

    def reopen_run(self, run_id: str) -> None:
        """Reopen a run that was recovered although its worker was alive: the worker may write again.

        The run is `running` again, with a heartbeat now and without `finished_at`. Notes that the recovery wrote are
        removed; other notes stay. The same holds for a run that was recovered and then finished with `force`. A run
        that is still running only gets a heartbeat: repeating the call is safe.

        Parameters
        ----------
        run_id
            The run.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it was finished and not recovered: it accepts writes already, and keeps its status.

        Examples
        --------
        >>> from orchestrator.state_store import RunFinishedError, StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     recovered = store.recover_stale_runs(0)  # in production it is minutes
        ...     try:
        ...         store.write_telemetry("run-1", {"seconds": 0.5})
        ...     except RunFinishedError:
        ...         store.reopen_run("run-1")
        ...         store.write_telemetry("run-1", {"seconds": 0.5})
        ...     run = store.get_run("run-1")
        >>> run.status, run.finished_at, run.notes
        ('running', None, None)
        """
        self._core.reopen_run(run_id)

    def recover_stale_runs(
        self, older_than: timedelta | float, status: str = "crashed", *, trust_clock: bool = False
    ) -> list[RunRecord]:
        """Finish and return the runs that are `running` but stale: without a heartbeat or a write for `older_than`.

        A run counts as alive from its latest start, heartbeat, item or telemetry write. The notes give that time,
        unless the run has notes. A time in the future, of a clock that was set back since, is taken for one of now, and
        stored so: such a run is stale `older_than` later. If several processes recover at the same time, each run is
        returned to one of them; a run that finishes first keeps its status. A run blocked by someone else's file lock
        is not considered stale.

        A worker that is still alive can do no harm: until `reopen_run`, each write that names the recovered run raises
        RunFinishedError (upserts, telemetry, heartbeat and finish_run). Other runs can write its items: the next
        attempt updates them under its own run_id. `decide` works on them too.

        Parameters
        ----------
        older_than
            A timedelta or seconds. A `run` block records a heartbeat at least every three seconds, and a busy machine
            may delay it: use ten seconds or more.
        status
            The status that the runs get; anything but `running`.
        trust_clock
            Recover also where the clock seems wrong, instead of raising ClockError.

        Returns
        -------
        list of RunRecord
            The runs that this call finished, in the order of recording. Settings that another program wrote and that
            are not valid JSON come as their text.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            When `older_than` is not a time span, or `status` is `running`.
        TransactionError
            Inside the caller's own transaction, during which no run can record a heartbeat.
        ClockError
            When there are runs to recover, and the clock has moved more than an hour ahead by itself since the store
            was opened, or is more than 400 days beyond the newest time that was in the file then. Nothing is changed.
        StoreBusyError
            When others hold the file's lock for `busy_timeout`, so that stale runs cannot be distinguished from blocked
            ones.

        Examples
        --------
        >>> from datetime import timedelta
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.recover_stale_runs(timedelta(minutes=5))
        []
        """
        with importing():
            from orchestrator.state_store.times import seconds

        span = seconds(older_than, "recover_stale_runs", "older_than")
        return [record_of(row) for row in self._core.recover_stale_runs(span, status, trust_clock)]

    def get_run(self, run_id: str) -> RunRecord | None:
        """Return a run, or None if there is no such run.

        Parameters
        ----------
        run_id
            The run.

        Returns
        -------
        RunRecord or None
            The current record of the run, its settings decoded.

        Raises
        ------
        InvalidJSONError
            When another program wrote settings that are not valid JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {"limit": 10})
        ...     store.finish_run("run-1", "completed", "nothing unusual")
        ...     run = store.get_run("run-1")
        >>> run.status, run.notes, run.settings_snapshot_json
        ('completed', 'nothing unusual', {'limit': 10})
        """
        row = self._core.get_run(run_id)
        return None if row is None else record_of(row)
