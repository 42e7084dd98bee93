"""The calls of `StateStore` about telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.state_store.core import Core


class Telemetry:
    """Telemetry: a mixin of `StateStore`."""

    _core: Core

    def write_telemetry(self, run_id: str, telemetry: Any, *, force: bool = False) -> None:
        """Set a run's telemetry document, replacing the one before.

        Parameters
        ----------
        run_id
            The run.
        telemetry
            Any value that `json.dumps` accepts, usually a dict.
        force
            Write it for a recovered run too, for example remarks of an operator.

        Raises
        ------
        RunNotFoundError
            When there is no such run.
        RunFinishedError
            When it was recovered, without `force`; the document is not changed.
        """
        self._core.write_telemetry(run_id, telemetry, force)

    def merge_telemetry(self, run_id: str, telemetry: dict[Any, Any], *, force: bool = False) -> None:
        """Set keys of a run's telemetry document from a dict, and keep its other keys.

        The document becomes `{**document, **telemetry}`: only keys of the top level are merged. It is read and written
        in one transaction, so nothing is lost if several threads or processes merge at the same time.

        Parameters
        ----------
        run_id
            The run. If it has no telemetry yet, the dict becomes the document.
        telemetry
            A dict that `json.dumps` accepts.
        force
            As of `write_telemetry`.

        Raises
        ------
        InvalidTypeError
            When `telemetry` is not a dict, or holds what JSON does not know.
        InvalidValueError
            When the document that is there is not a JSON object; it stays as it is, until `write_telemetry`.
        RunNotFoundError, RunFinishedError
            As `write_telemetry`.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.merge_telemetry("run-1", {"fetch": 1.5, "state": "fetching"})
        ...     store.merge_telemetry("run-1", {"parse": 0.5, "state": "parsing"})
        ...     store.get_telemetry("run-1")
        {'fetch': 1.5, 'state': 'parsing', 'parse': 0.5}
        """
        self._core.merge_telemetry(run_id, telemetry, force)

    def get_telemetry(self, run_id: str) -> Any:
        """Return a run's telemetry document, or None if it has none.

        Parameters
        ----------
        run_id
            The run. An unknown one has no telemetry.

        Returns
        -------
        Any
            The last document, as `json.loads` gives it; None also if None was written.

        Raises
        ------
        InvalidJSONError
            When another program wrote text that is not valid JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     store.write_telemetry("run-1", {"seconds": 1.5})
        ...     store.get_telemetry("run-1"), store.get_telemetry("run-2")
        ({'seconds': 1.5}, None)
        """
        return self._core.get_telemetry(run_id)

    def list_telemetry(self, run_ids: Iterable[str]) -> dict[str, Any]:
        """Return the telemetry documents of several runs, in one snapshot.

        Parameters
        ----------
        run_ids
            The runs, in any number.

        Returns
        -------
        dict
            For each run that has one, its document as `get_telemetry` returns it, in the order of `run_ids`. A run
            without telemetry, and an unknown one, is absent.

        Raises
        ------
        InvalidTypeError
            When `run_ids` is not an iterable of str, or is a str itself.
        InvalidJSONError
            When another program wrote text that is not valid JSON.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     for run_id in ("run-1", "run-2"):
        ...         run = store.start_run(run_id, "daily", {})
        ...     store.write_telemetry("run-1", {"seconds": 1.5})
        ...     store.list_telemetry(run.run_id for run in store.list_runs(run_type="daily"))
        {'run-1': {'seconds': 1.5}}
        """
        return self._core.list_telemetry(run_ids)
