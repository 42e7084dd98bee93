"""The calls that delete, and that look after a store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from orchestrator.state_store import _core
from orchestrator.state_store._core import Rows
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.errors import unsupported
from orchestrator.state_store._postgres.faults import error_of, excerpt
from orchestrator.state_store._postgres.pruning import Prune, outcome
from orchestrator.state_store.exceptions import RunActiveError, StateStoreError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from orchestrator.state_store._postgres.session import Session

_SLICE_ITEMS = 1000
"""How many items of a run that is being pruned are deleted in one transaction."""

_GONE = "repeating the call is safe: a RunNotFoundError then says that it was"
"""What to do where nobody knows whether a run was deleted."""

_JSON = {
    "runs": ("run_id", ["settings_snapshot_json"]),
    "intel_items": (
        "item_id",
        ["claims_json", "evidence_json", "scores_json", "risk_flags_json", "explainability_json"],
    ),
    "telemetry": ("run_id", ["telemetry_json"]),
}

Finding = tuple[
    Literal["integrity", "foreign_key", "json", "text", "stale_run", "hard_link", "held_run", "sync"],
    str | None,
    str | None,
    str,
]


class Upkeep(Engine):
    """Deletion, statistics and checks."""

    def delete_run(self, run_id: str, force: bool) -> tuple[int, int, int]:
        """Delete a run; return the numbers of runs, items and telemetry documents deleted."""
        run_id = self.arguments.text(run_id, "delete_run", "run_id")
        force = self.arguments.flag(force, "delete_run: force")
        sql = f"SELECT fault, runs, intel_items, telemetry FROM {self.schema}.delete_run_1(%s, %s, %s)".encode()

        def delete(session: psycopg.Connection, wait: int | None) -> tuple[int, int, int]:
            values = [wait, self.arguments.escape(run_id), force]
            [(fault, runs, items, telemetry)] = session.execute(sql, values).fetchall()
            if fault == "running":
                raise RunActiveError("the run is running; nothing was changed; finish it first, or pass force=True")
            if fault is not None:
                raise error_of(fault, run_id, None, None)
            return runs, items, telemetry

        return self.write(f"delete_run {excerpt(run_id)}", delete, advice=_GONE, repeats=False)

    def prune(
        self,
        older_than: float | None,
        keep_last: int | None,
        run_type: str | None,
        status: str | Iterable[str] | None,
        dry_run: bool,
        keep_seen: bool,
        trust_clock: bool,
    ) -> tuple[int, int, int]:
        """Delete finished runs; return the numbers of runs, items and telemetry documents deleted."""
        prune = Prune(self.arguments, self.schema, older_than, keep_last, run_type, status, keep_seen)
        trust_clock = self.arguments.flag(trust_clock, "prune: trust_clock")
        dry_run = self.arguments.flag(dry_run, "prune: dry_run")
        try:
            self.refuse_closed()
            prune.refuse_all()
            self.refuse_inside("it is done in transactions of its own: leave the transaction first")
            if not dry_run:
                self.refuse_read_only()
        except StateStoreError as error:
            raise type(error)(f"prune: {error}") from None
        goes_by_age = older_than is not None and not trust_clock

        def find(session: Session) -> bool:
            with session.block("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
                found = prune.find(session)
                if found and goes_by_age and prune.is_any(session):
                    self.clock.check(session)
            return found

        found = self.read("prune", find)
        if dry_run:
            return self.read("prune", lambda session: prune.count(session, found))
        total, held = [0, 0, 0], []
        runs = self.read("prune", prune.referred_to) if found else []
        while runs is None and self.write("prune", prune.mark):
            pass
        for run_id in runs or ():
            some, why = self.write("prune", partial(prune.take, run_id), repeats=False)
            total = [sum(each) for each in zip(total, some, strict=True)]
            held += [why] if why else []
        sql = f"SELECT runs, intel_items, telemetry FROM {self.schema}.sweep_1(%s, %s)".encode()
        while True:
            [some] = self.write(
                "prune", lambda session, wait: session.execute(sql, [wait, _SLICE_ITEMS]).fetchall(), repeats=False
            )
            if some[0] is None:
                return outcome(total, held)
            total = [sum(each) for each in zip(total, some, strict=True)]

    def stats(self) -> dict[str, Any]:
        """Return the fields of `Stats` by name."""
        schema = self.schema
        pruned = f"SELECT FROM {schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL"
        sql = f"""SELECT
            (SELECT count(*) FROM {schema}.intel_items i WHERE NOT EXISTS ({pruned})),
            (SELECT count(*) FROM {schema}.telemetry i WHERE NOT EXISTS ({pruned})),
            (SELECT sum(pg_total_relation_size(oid)) FROM pg_class
                WHERE relkind = 'r' AND relnamespace = '{schema}'::regnamespace),
            current_setting('block_size')::integer"""
        by_status = f"SELECT status, count(*) FROM {schema}.runs WHERE pruned_at IS NULL GROUP BY 1 ORDER BY 1"

        def read(session: psycopg.Connection) -> tuple[list[Any], list[Any]]:
            return session.execute(by_status.encode()).fetchall(), session.execute(sql.encode()).fetchall()

        runs, [(items, telemetry, size, page_size)] = self.read("stats", read)
        return {
            "runs": sum(count for _, count in runs),
            "runs_by_status": {Rows.unescape(status): count for status, count in runs},
            "intel_items": items,
            "telemetry": telemetry,
            "file_bytes": int(size),
            "wal_bytes": 0,
            "free_bytes": 0,
            "page_size": page_size,
            "sqlite_version": _core.SQLITE_VERSION,
            "schema_version": self.schema_version,
            "commits": self.commits,
            "grouped_writes": 0,
            "syncs": 0,
            "checkpoints": 0,
            "hard_links": 0,
            "failed_syncs": 0,
            "panicked": None,
        }

    def check(self, stale_after: float) -> list[Finding]:
        """Return the problems: kind, table, id and message of each finding."""

        def read(session: psycopg.Connection) -> list[Finding]:
            return [*self._orphans(session), *self._no_json(session), *self._stale(session, stale_after)]

        return self.read("check", read)

    def _orphans(self, session: psycopg.Connection) -> list[Finding]:
        found: list[Finding] = []
        for table, key in (("intel_items", "item_id"), ("telemetry", "run_id")):
            sql = (
                f"SELECT {key}, run_id FROM {self.schema}.{table} t WHERE NOT EXISTS"
                f" (SELECT FROM {self.schema}.runs r WHERE r.run_id = t.run_id) ORDER BY 1"
            )
            for row_id, run_id in session.execute(sql.encode()):
                shown = excerpt(Rows.unescape(run_id))
                what = f"it belongs to the run {shown}, which does not exist"
                found.append(("foreign_key", table, Rows.unescape(row_id), what))
        return found

    def _no_json(self, session: psycopg.Connection) -> list[Finding]:
        found: list[Finding] = []
        alone = session.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if alone:
            session.execute(b"BEGIN READ ONLY")
        try:
            for table, (key, columns) in _JSON.items():
                with session.cursor(name="json") as cursor:
                    cursor.itersize = 200
                    cursor.execute(f"SELECT {key}, {', '.join(columns)} FROM {self.schema}.{table}".encode())
                    for row_id, *texts in cursor:
                        for column, text in zip(columns, texts, strict=True):
                            fault = Rows.fault(text)
                            if fault is not None:
                                found.append(("json", table, Rows.unescape(row_id), f"{column} is {fault}"))
        finally:
            if alone and not session.closed:
                session.execute(b"ROLLBACK")
        return found

    def _stale(self, session: psycopg.Connection, stale_after: float) -> list[Finding]:
        schema = self.schema
        sql = f"""SELECT run_id, last_sign FROM {schema}.silent_1({schema}.ago_1(%s), {schema}.now_1())
            WHERE dead AND NOT ahead ORDER BY 1"""
        rows = session.execute(sql.encode(), [stale_after]).fetchall()
        what = "it is running, but has shown no activity since {}"
        return [("stale_run", "runs", Rows.unescape(run_id), what.format(sign)) for run_id, sign in rows]

    def vacuum(self, full: bool) -> NoReturn:
        """Refuse: the server does it by itself."""
        raise unsupported("vacuum", "autovacuum does it; or run VACUUM on the server")

    def checkpoint(self) -> NoReturn:
        """Refuse: the server does it by itself."""
        raise unsupported("checkpoint", "the server does it by itself")

    def backup(
        self, dest: str | os.PathLike[str], overwrite: bool, progress: Callable[[int, int], object] | None
    ) -> NoReturn:
        """Refuse: the server has its own ways."""
        raise unsupported("backup", "use pg_dump or pg_basebackup")
