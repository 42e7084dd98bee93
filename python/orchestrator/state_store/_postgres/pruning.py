"""Which runs a prune is for: counted, or marked as being pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from orchestrator.state_store._core import Rows
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.faults import excerpt
from orchestrator.state_store.exceptions import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.state_store._core import Arguments
    from orchestrator.state_store._postgres.session import Session

_SLICE_RUNS = 256
"""How many runs are marked in one transaction."""

_MOST_STATUSES = 1000
_MOST_NAMED = 5


class Prune:
    """Finished runs that meet every bound. `find` makes bounds of what they are as of now."""

    def __init__(
        self,
        arguments: Arguments,
        schema: str,
        older_than: float | None,
        keep_last: int | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        keep_seen: bool,
    ) -> None:
        self._schema = schema
        self._older_than = older_than
        self._keep_last = arguments.count(keep_last, "prune: keep_last")
        self._keep_seen = True
        self._conditions = ["pruned_at IS NULL", "status <> 'running'"]
        self._values: list[Any] = []
        run_type = arguments.optional_text(run_type, "prune", "run_type")
        if run_type is not None:
            self._restrict("run_type = %s", arguments.escape(run_type))
        self._statuses = arguments.texts(status, "prune", "status")
        if self._statuses is not None:
            self._restrict("status = ANY (%s::text[])", [arguments.escape(each) for each in self._statuses])
        self._keep_seen = arguments.flag(keep_seen, "prune: keep_seen")

    def _restrict(self, condition: str, value: Any) -> None:
        self._conditions.append(condition)
        self._values.append(value)

    def refuse_all(self) -> None:
        """Refuse to prune without a bound.

        Raises
        ------
        InvalidValueError
            When there is none, or there are too many statuses.
        """
        if self._older_than is None and self._keep_last is None:
            raise InvalidValueError("older_than or keep_last must say which runs to delete; nothing was changed")
        if self._statuses is not None and len(self._statuses) > _MOST_STATUSES:
            raise InvalidValueError(
                f"status: {len(self._statuses)} names are more than {_MOST_STATUSES}, the most at a time; "
                "nothing was changed"
            )

    def find(self, session: Session) -> bool:
        """Find out where the bounds are; False when no run can be beyond them."""
        schema = self._schema
        [(seen_since,)] = session.execute(f"SELECT {schema}.now_1()".encode()).fetchall()
        of_filters, values = " AND ".join(self._conditions), [*self._values]
        if self._older_than is not None:
            [(seen_since,)] = session.execute(f"SELECT {schema}.ago_1(%s)".encode(), [self._older_than]).fetchall()
            self._restrict("coalesce(finished_at, started_at) < %s", seen_since)
        if self._keep_last:
            sql = f"SELECT seq FROM {schema}.runs WHERE {of_filters} ORDER BY seq DESC OFFSET %s LIMIT 1"
            newest = session.execute(sql.encode(), [*values, min(self._keep_last - 1, 2**62)]).fetchone()
            if newest is None:
                return False
            self._restrict("seq < %s", newest[0])
            sql = f"SELECT min(started_at) FROM {schema}.runs WHERE seq >= %s"
            [(started_at,)] = session.execute(sql.encode(), newest).fetchall()
            seen_since = min(seen_since, started_at)
        if self._keep_seen:
            for table, seen_at in (("intel_items", "updated_at"), ("item_seen", "seen_at")):
                self._restrict(
                    f"NOT EXISTS (SELECT FROM {schema}.{table} i WHERE i.run_id = runs.run_id AND i.{seen_at} >= %s)",
                    seen_since,
                )
        return True

    def is_any(self, session: Session) -> bool:
        """Say whether any run is to be deleted."""
        sql = f"SELECT EXISTS (SELECT FROM {self._schema}.runs WHERE {' AND '.join(self._conditions)})"
        return session.execute(sql.encode(), self._values).fetchall() == [(True,)]

    def count(self, session: Session, found: bool) -> tuple[int, int, int]:
        """Return how many runs, items and documents would go, those of an earlier prune among them."""
        schema = self._schema
        chosen = f"pruned_at IS NOT NULL OR {' AND '.join(self._conditions)}" if found else ""
        sql = f"""WITH chosen AS MATERIALIZED (
                SELECT run_id FROM {schema}.runs WHERE {chosen or "pruned_at IS NOT NULL"})
            SELECT (SELECT count(*) FROM chosen),
                (SELECT count(*) FROM {schema}.intel_items WHERE run_id IN (SELECT run_id FROM chosen)),
                (SELECT count(*) FROM {schema}.telemetry WHERE run_id IN (SELECT run_id FROM chosen))"""
        [(runs, items, documents)] = session.execute(sql.encode(), self._values if chosen else []).fetchall()
        return runs, items, documents

    def mark(self, session: Session, wait: int | None) -> bool:
        """Hide some of the runs from readers and from writes; return whether there were any."""
        schema, conditions = self._schema, " AND ".join(self._conditions)
        with session.block():
            session.execute(f"SELECT {schema}.enter_1(%s)".encode(), [wait])
            # Locked in the order in which all writes lock runs; what has changed meanwhile is looked at again.
            sql = f"""SELECT run_id FROM {schema}.runs WHERE run_id IN (
                SELECT run_id FROM {schema}.runs WHERE {conditions} ORDER BY seq LIMIT {_SLICE_RUNS})
                ORDER BY run_id FOR UPDATE"""
            candidates = [run_id for (run_id,) in session.execute(sql.encode(), self._values)]
            sql = f"""UPDATE {schema}.runs SET pruned_at = {schema}.now_1()
                WHERE run_id = ANY (%s::text[]) AND {conditions}"""
            session.execute(sql.encode(), [candidates, *self._values])
        return bool(candidates)

    def referred_to(self, session: Session) -> list[str] | None:
        """Return the runs if tables of others refer to ours: what may not be deleted must not be hidden either."""
        schema = self._schema
        tables = ", ".join(f"'{schema}.{table}'::regclass" for table in ("runs", "intel_items", "telemetry"))
        sql = f"SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid IN ({tables}))"
        if session.execute(sql.encode()).fetchall() == [(False,)]:
            return None
        sql = f"SELECT run_id FROM {schema}.runs WHERE {' AND '.join(self._conditions)} ORDER BY seq"
        return [run_id for (run_id,) in session.execute(sql.encode(), self._values)]

    def take(self, run_id: str, session: Session, wait: int | None) -> tuple[tuple[int, int, int], str]:
        """Delete a run at once; return what was deleted, or why nothing was."""
        schema = self._schema
        try:
            with session.block():
                session.execute(f"SELECT {schema}.enter_1(%s)".encode(), [wait])
                session.execute(f"SELECT FROM {schema}.runs WHERE run_id = %s FOR UPDATE".encode(), [run_id])
                sql = f"""SELECT d.runs, d.intel_items, d.telemetry FROM (
                    SELECT run_id FROM {schema}.runs WHERE run_id = %s AND {" AND ".join(self._conditions)}) AS chosen,
                    {schema}.delete_all_1(chosen.run_id) AS d"""
                found = session.execute(sql.encode(), [run_id, *self._values]).fetchall()
        except psycopg.errors.ForeignKeyViolation as error:
            return (0, 0, 0), f"run {excerpt(Rows.unescape(run_id))} ({errors.message(error)})"
        return (found[0] if found else (0, 0, 0)), ""


def outcome(deleted: list[int], held: list[str]) -> tuple[int, int, int]:
    """Return what was deleted.

    Raises
    ------
    InvalidValueError
        When rows of other tables hold some of the runs.
    """
    runs, items, documents = deleted
    if held:
        more = " ..." if len(held) > _MOST_NAMED else ""
        raise InvalidValueError(
            f"prune: rows of other tables refer to {len(held)} of the runs, which stay as they were: "
            f"{', '.join(held[:_MOST_NAMED])}{more}; delete those rows, and prune again; all others are deleted: "
            f"{runs} runs, {items} items, {documents} telemetry documents"
        )
    return runs, items, documents
