"""The calls of `StateStore` about telemetry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.state_store import _core


class Telemetry:
    """Telemetry: a mixin of `StateStore`."""

    _core: _core.Store

    def write_telemetry(self, run_id: str, telemetry: Any) -> None:
        """Set a run's telemetry document, replacing the one before.

        Parameters
        ----------
        run_id
            The run.
        telemetry
            Any value that `json.dumps` accepts, a dict as a rule.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        """
        self._core.write_telemetry(run_id, telemetry)
