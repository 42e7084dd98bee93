"""The calls that list and count runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.state_store._core import Rows, RunSelection
from orchestrator.state_store._postgres.calls.runs import RUN_COLUMNS
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.tally import sorted_tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg


class RunLists(Engine):
    """Lists of runs."""

    def list_runs(
        self,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
        order: str,
        limit: int | None,
        cursor: str | None,
    ) -> tuple[list[tuple[Any, ...]], str | None]:
        """Return the fields of runs, and the cursor of the next page."""
        selection = RunSelection("list_runs", run_id_prefix, run_type, status, since, until, order)
        most = self.arguments.limit(limit, "list_runs")
        cursor = self.arguments.optional_text(cursor, "list_runs", "cursor")
        where, values = self._of_runs(selection)
        newest = order == "newest"

        def read(session: psycopg.Connection) -> tuple[list[tuple[Any, ...]], str | None]:
            conditions, parameters = [*where], [*values]
            if cursor is not None:
                conditions.append(f"seq {'<' if newest else '>'} %s")
                parameters.append(selection.place(cursor, self.store_id))
            sql = (
                f"SELECT {RUN_COLUMNS}, seq FROM {self.schema}.runs WHERE {' AND '.join(conditions)}"
                f" ORDER BY seq {'DESC' if newest else 'ASC'}"
            )
            if most is not None:
                sql += " LIMIT %s"
                parameters.append(min(most + 1, 2**62))
            rows = session.execute(sql.encode(), parameters).fetchall()
            if most is None or len(rows) <= most:
                return rows, None
            last = rows[most - 1]
            return rows[:most], selection.cursor(last[2], last[-1], self.store_id)

        found, end = self.read("list_runs", read)
        return Rows.runs([row[:-1] for row in found], "list_runs", False), end

    def count_runs(
        self,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
    ) -> int:
        """Return the number of runs."""
        where, values = self._of_runs(
            RunSelection("count_runs", run_id_prefix, run_type, status, since, until, "newest")
        )
        sql = f"SELECT count(*) FROM {self.schema}.runs WHERE {' AND '.join(where)}".encode()
        [(count,)] = self.read("count_runs", lambda session: session.execute(sql, values).fetchall())
        return int(count)

    def count_runs_by(
        self,
        by: str,
        run_id_prefix: str | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        since: str | None,
        until: str | None,
    ) -> dict[str, int]:
        """Return how many runs there are of each status or type, the most frequent first."""
        by = self.arguments.choice(by, "count_runs_by", "by", ["status", "run_type"])
        where, values = self._of_runs(
            RunSelection("count_runs_by", run_id_prefix, run_type, status, since, until, "newest")
        )
        sql = f"SELECT {by}, count(*) FROM {self.schema}.runs WHERE {' AND '.join(where)} GROUP BY 1".encode()
        found = self.read("count_runs_by", lambda session: session.execute(sql, values).fetchall())
        return {name: count for name, count in sorted_tally(found).items() if name is not None}

    def _of_runs(self, selection: RunSelection) -> tuple[list[str], list[Any]]:
        """Return the conditions of a selection, and their values."""
        prefix, run_type, statuses, since, until = selection.filters
        escape = self.arguments.escape
        pairs: list[tuple[str, Any]] = []
        if prefix is not None:
            pairs.append(("starts_with(run_id, %s)", escape(prefix)))
        if run_type is not None:
            pairs.append(("run_type = %s", escape(run_type)))
        if statuses is not None:
            pairs.append(("status = ANY (%s::text[])", [escape(each) for each in statuses]))
        if since is not None:
            pairs.append(("started_at >= %s", escape(since)))
        if until is not None:
            pairs.append(("started_at < %s", escape(until)))
        return ["pruned_at IS NULL", *(condition for condition, _ in pairs)], [value for _, value in pairs]
