"""The calls of `StateStore` about runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.state_store import _core
    from orchestrator.state_store.run_record import RunRecord


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
        from orchestrator.state_store.run_record import RunRecord

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
            Finish also a run that `recover_stale_runs` took for dead and finished.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it was recovered, without `force`; it stays as it is.
        """
        self._core.finish_run(run_id, status, notes, force)
