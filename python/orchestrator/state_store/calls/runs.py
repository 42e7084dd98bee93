"""The calls of `StateStore` about runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from orchestrator.state_store import _core
    from orchestrator.state_store.records.page import Page
    from orchestrator.state_store.records.run import RunRecord


class Runs:
    """Runs: a mixin of `StateStore`."""

    _core: _core.Store

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any) -> RunRecord:
        """Record a new run with status `running`.

        Parameters
        ----------
        run_id
            A key that no run has yet.
        run_type
            What kind of run it is; free text.
        settings_snapshot
            The settings that it runs with: any value that `json.dumps` accepts, a dict as a rule.

        Returns
        -------
        RunRecord
            The run, with `settings_snapshot` itself.

        Raises
        ------
        RunExistsError
            When there is a run with this run_id; it stays as it is.
        """
        from orchestrator.state_store.records.run import RunRecord

        started_at = self._core.start_run(run_id, run_type, settings_snapshot)
        return RunRecord(run_id, run_type, started_at, "running", settings_snapshot)

    def finish_run(self, run_id: str, status: str, notes: str | None = None, *, force: bool = False) -> None:
        """Set a run's status and notes, and its `finished_at` to now.

        Parameters
        ----------
        run_id
            The run.
        status
            Free text: `completed`, `partial`, `failed` ...
        notes
            Free text, or None; replaces what was there.
        force
            Finish also a run that `recover_stale_runs` took for dead and finished. Its worker is still kept from
            writing: `reopen_run` is for one that is alive.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it was recovered, without `force`; it stays as it is.
        """
        self._core.finish_run(run_id, status, notes, force)

    def get_run(self, run_id: str) -> RunRecord | None:
        """Return a run, or None where there is no such run.

        Parameters
        ----------
        run_id
            The run.

        Returns
        -------
        RunRecord or None
            The run as it is now, its settings decoded.

        Raises
        ------
        InvalidJSONError
            When another program wrote settings that are no JSON.

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
        from orchestrator.state_store.records.run import RunRecord

        fields = self._core.get_run(run_id)
        return None if fields is None else RunRecord(*fields)

    def list_runs(
        self,
        *,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[RunRecord]:
        """Return runs, the newest first: by `started_at`, and of those of one time the last recorded first.

        With a `limit` it is a page of them, and its `next_cursor` is where the next one goes on. Nothing is held open
        between two pages. While others write, each run that is there throughout comes exactly once.

        Parameters
        ----------
        run_type
            Only runs of this type.
        status
            Only runs of this status, or of one of several; an empty iterable has none.
        since, until
            Only runs that started at `since` or later, and before `until`: a datetime, or a str in ISO 8601, with an
            offset from UTC.
        limit
            The most runs, 1 or more; None for all of them.
        cursor
            The `next_cursor` of the page before, from this call with the same filters on this file; None for the
            first page. The limit may be another.

        Returns
        -------
        Page of RunRecord
            A list. Its `next_cursor` is None where nothing is left.

        Raises
        ------
        InvalidValueError
            When a time has no offset, the limit is less than 1, or the cursor was changed or is of another list.
        InvalidTypeError
            When an argument is of another type.
        InvalidJSONError
            When another program wrote settings that are no JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     for number in range(5):
        ...         run = store.start_run(f"run-{number}", "daily", {})
        ...     store.finish_run("run-2", "failed")
        ...     page = store.list_runs(status="running", limit=3)
        ...     rest = store.list_runs(status="running", limit=3, cursor=page.next_cursor)
        >>> [run.run_id for run in page], [run.run_id for run in rest], rest.next_cursor
        (['run-4', 'run-3', 'run-1'], ['run-0'], None)
        """
        from orchestrator.state_store.records.page import Page
        from orchestrator.state_store.records.run import RunRecord
        from orchestrator.state_store.times import utc

        since, until = utc(since, "list_runs", "since"), utc(until, "list_runs", "until")
        runs, next_cursor = self._core.list_runs(run_type, status, since, until, limit, cursor)
        return Page((RunRecord(*fields) for fields in runs), next_cursor)

    def count_runs(
        self,
        *,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> int:
        """Return how many runs `list_runs` lists with these filters.

        Parameters
        ----------
        run_type, status, since, until
            As of `list_runs`.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            As `list_runs`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.count_runs(), store.count_runs(status=("failed", "partial"))
        (1, 0)
        """
        from orchestrator.state_store.times import utc

        since, until = utc(since, "count_runs", "since"), utc(until, "count_runs", "until")
        return self._core.count_runs(run_type, status, since, until)
