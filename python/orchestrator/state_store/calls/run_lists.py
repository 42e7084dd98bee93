"""The calls of `StateStore` that list and count runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.state_store.late import utc_bounds
from orchestrator.state_store.records.page import Page
from orchestrator.state_store.records.run import RunRecord, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Literal

    from orchestrator.state_store.core import Core


class RunLists:
    """Lists of runs: a mixin of `StateStore`."""

    _core: Core

    def list_runs(
        self,
        *,
        run_id_prefix: str | None = None,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        order: Literal["oldest", "newest"] = "newest",
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[RunRecord]:
        """Return runs, the newest or the oldest first, by `started_at`; at the same time, by the order of recording.

        With a `limit` the list is a page; pass its `next_cursor` to get the next one. No read stays open between two
        pages. While others write, each run that exists all the time is returned exactly once.

        Parameters
        ----------
        run_id_prefix
            Only runs whose run_id begins with this text, exactly as it is. They are found by their run_ids and sorted:
            a page costs as much as reading all of them does.
        run_type
            Only runs of this type.
        status
            Only runs with this status, or with one of several; an empty iterable matches no run.
        since, until
            Only runs that started at `since` or later, and before `until`: a datetime, or a str in ISO 8601, with an
            offset from UTC.
        order
            Which of them comes first: the `newest`, or the `oldest`.
        limit
            The most runs, 1 or more; None for all of them.
        cursor
            The `next_cursor` of the page before, from this method with the same filters and order on this file; None
            for the first page. The limit may differ.

        Returns
        -------
        Page of RunRecord
            A list. Its `next_cursor` is None on the last page.

        Raises
        ------
        InvalidValueError
            When a time has no offset, the limit is less than 1, or the cursor was changed or belongs to another list or
            order.
        InvalidTypeError
            When an argument has the wrong type.
        InvalidJSONError
            When another program wrote settings that are not valid JSON.

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
        since, until = utc_bounds("list_runs", since, until)
        runs, next_cursor = self._core.list_runs(run_id_prefix, run_type, status, since, until, order, limit, cursor)
        return Page(map(record_of, runs), next_cursor)

    def count_runs(
        self,
        *,
        run_id_prefix: str | None = None,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> int:
        """Return how many runs `list_runs` lists with these filters.

        Parameters
        ----------
        run_id_prefix, run_type, status, since, until
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
        since, until = utc_bounds("count_runs", since, until)
        return self._core.count_runs(run_id_prefix, run_type, status, since, until)

    def count_runs_by(
        self,
        by: Literal["status", "run_type"],
        *,
        run_id_prefix: str | None = None,
        run_type: str | None = None,
        status: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> dict[str, int]:
        """Return how many runs there are of each status, or of each type.

        Parameters
        ----------
        by
            What they are counted by: `status` or `run_type`.
        run_id_prefix, run_type, status, since, until
            As of `list_runs`.

        Returns
        -------
        dict
            The numbers, the largest first, equal ones by name. What no run has is absent.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            When `by` is something else, and as `list_runs`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     for number in range(3):
        ...         run = store.start_run(f"run-{number}", "daily", {})
        ...     store.finish_run("run-1", "completed")
        ...     store.count_runs_by("status"), store.count_runs_by("run_type", status="completed")
        ({'running': 2, 'completed': 1}, {'daily': 1})
        """
        since, until = utc_bounds("count_runs_by", since, until)
        return self._core.count_runs_by(by, run_id_prefix, run_type, status, since, until)
