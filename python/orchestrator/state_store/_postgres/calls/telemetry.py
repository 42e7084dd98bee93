"""The calls about telemetry."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from orchestrator.state_store._core import Rows
from orchestrator.state_store._postgres.engine import Engine
from orchestrator.state_store._postgres.faults import error_of, excerpt
from orchestrator.state_store.exceptions import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.state_store._postgres.session import Session

_NO_OBJECT = (
    "the run's telemetry document is not a JSON object, and has no keys to merge with; nothing was changed; "
    "write_telemetry replaces it"
)


class Telemetry(Engine):
    """Telemetry."""

    def write_telemetry(self, run_id: str, telemetry: Any, force: bool) -> None:
        """Set a run's telemetry document; with `force` that of one that was recovered, too."""
        run_id = self.arguments.text(run_id, "write_telemetry", "run_id")
        operation = f"write_telemetry {excerpt(run_id)}"
        document = self.arguments.json(telemetry, operation, "telemetry")
        force = self.arguments.flag(force, "write_telemetry: force")
        sql = f"SELECT fault, status, recovered_at FROM {self.schema}.write_telemetry_1(%s, %s, %s, %s)".encode()

        def write(session: Session, wait: int | None) -> None:
            values = [wait, self.arguments.escape(run_id), document, force]
            [(fault, status, recovered_at)] = session.execute(sql, values).fetchall()
            if fault is not None:
                note = "write_telemetry with force=True writes it nevertheless"
                raise error_of(fault, run_id, status, recovered_at, note if fault == "recovered" else "")

        self.write(operation, write)

    def merge_telemetry(self, run_id: str, telemetry: dict[Any, Any], force: bool) -> None:
        """Put the items of a dict over those of a run's telemetry document."""
        run_id = self.arguments.text(run_id, "merge_telemetry", "run_id")
        operation = f"merge_telemetry {excerpt(run_id)}"
        if not isinstance(telemetry, dict):
            raise InvalidTypeError(f"{operation}: telemetry must be a dict, not {type(telemetry).__name__}")
        members = self.arguments.json(telemetry, operation, "telemetry")
        force = self.arguments.flag(force, "merge_telemetry: force")
        take = (
            f"SELECT document, fault, status, recovered_at FROM {self.schema}.take_telemetry_1(%s, %s, %s)"
        ).encode()
        key = self.arguments.escape(run_id)

        def merge(session: Session, wait: int | None) -> None:
            with nullcontext() if wait is None else session.block():
                [(before, fault, status, recovered_at)] = session.execute(take, [wait, key, force]).fetchall()
                if fault is not None:
                    there = self._documents(session, [run_id]).values()
                    if None in [Rows.merged(document, members) for document in there]:
                        raise InvalidValueError(_NO_OBJECT)
                    note = "merge_telemetry with force=True writes it nevertheless"
                    raise error_of(fault, run_id, status, recovered_at, note if fault == "recovered" else "")
                merged = Rows.merged(before, members)
                if merged is None:
                    raise InvalidValueError(_NO_OBJECT)
                session.execute(f"SELECT {self.schema}.set_telemetry_1(%s, %s)".encode(), [key, merged])

        self.write(operation, merge)

    def get_telemetry(self, run_id: str) -> Any:
        """Return a run's telemetry document; None if it has none."""
        run_id = self.arguments.text(run_id, "get_telemetry", "run_id")
        found = self.read(f"get_telemetry {excerpt(run_id)}", lambda session: self._documents(session, [run_id]))
        return Rows.document(found[run_id], "get_telemetry", run_id) if run_id in found else None

    def list_telemetry(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the telemetry documents of those of these runs that have one."""
        several = list(dict.fromkeys(self.arguments.several_texts(run_ids, "list_telemetry", "run_ids")))
        found = self.read("list_telemetry", lambda session: self._documents(session, several))
        return {run_id: Rows.document(found[run_id], "list_telemetry", run_id) for run_id in several if run_id in found}

    def _documents(self, session: Session, run_ids: list[str]) -> dict[str, str]:
        sql = (
            f"SELECT run_id, telemetry_json FROM {self.schema}.telemetry i WHERE run_id = ANY (%s::text[])"
            f" AND NOT EXISTS (SELECT FROM {self.schema}.runs r WHERE r.run_id = i.run_id AND r.pruned_at IS NOT NULL)"
        )
        rows = session.execute(sql.encode(), [[self.arguments.escape(each) for each in run_ids]])
        return {Rows.unescape(run_id): document for run_id, document in rows}
