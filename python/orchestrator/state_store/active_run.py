"""The `with` block of a run."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orchestrator.state_store.excerpts import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from orchestrator.state_store.core import Core
    from orchestrator.state_store.records.run import RunRecord


_LONGEST_REASON = 4096
"""How many bytes of an exception's text are kept. Some have a whole response or table in it."""

_CANCELLATIONS = (
    ("asyncio.exceptions", "CancelledError"),
    ("trio", "Cancelled"),
    ("greenlet", "GreenletExit"),
)
"""The exceptions by which frameworks cancel a task: the module, and the class in it. gevent uses that of greenlet."""


class ActiveRun:
    """What `StateStore.run` returns: it starts a run on entering the block, and finishes it on leaving.

    Attributes
    ----------
    run_id
        The run's key.
    """

    __module__ = "orchestrator.state_store"

    run_id: str

    def __init__(self, core: Core, run_id: str, start: Callable[[], RunRecord]) -> None:
        self.run_id = run_id
        self._core = core
        self._start = start
        self._record: RunRecord | None = None
        self._process: int | None = None
        self._over = False

    @property
    def record(self) -> RunRecord:
        """The run as it was started.

        Raises
        ------
        RunNotFoundError
            Before the block is entered: the run does not exist yet.
        """
        if self._record is None:
            from orchestrator.state_store.exceptions import RunNotFoundError

            raise RunNotFoundError(f"run {excerpt(self.run_id)}: it was not started yet: enter its block first")
        return self._record

    @property
    def started_at(self) -> str:
        """When the run started: UTC, ISO 8601, as `datetime.isoformat()` prints it; before that as `record`."""
        return self.record.started_at

    def finish(self, status: str, notes: str | None = None) -> None:
        """Finish the run now. Leaving its block then does not change it, unless a transaction around this rolled back.

        Parameters
        ----------
        status
            Free text, as of `StateStore.finish_run`; anything but `running`.
        notes
            Free text, or None.

        Raises
        ------
        InvalidValueError
            When `status` is `running`.
        RunNotFoundError
            Before the block is entered.
        RunFinishedError
            When it was recovered by `StateStore.recover_stale_runs`, and not reopened.
        """
        self._over = self._core.finish_run(self.record.run_id, status, notes, False)
        if self._over:
            self._core.end_heartbeats(self.run_id)

    def __enter__(self) -> Self:
        """Start the run, and its heartbeats."""
        if self._process is not None:
            from orchestrator.state_store.exceptions import RunExistsError

            raise RunExistsError(
                f"run {excerpt(self.run_id)}: it was entered before; each `with` needs its own store.run()"
            )
        self._record = self._start()
        self._process = os.getpid()
        self._core.begin_heartbeats(self.run_id)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the run, unless it is finished already, or this is a forked child: the run is its parent's."""
        if self._over or self._process != os.getpid():
            return
        self._over = True
        try:
            if exc is None:
                self._core.finish_run(self.run_id, "completed", None, False, if_running=True)
            else:
                self._give_up(exc)
        finally:
            self._core.end_heartbeats(self.run_id)

    def _give_up(self, exc: BaseException) -> None:
        """Finish the run because of an exception, which propagates even if this fails."""
        try:
            status = "cancelled" if _cancels(exc) else "failed"
            self._core.finish_run(self.run_id, status, _reason(exc), False, if_running=True)
        except Exception as error:
            exc.add_note(f"the run {excerpt(self.run_id)} could not be finished: {_reason(error)}")

    def __repr__(self) -> str:
        """Show the run and its state."""
        state = "over" if self._over else "new" if self._process is None else "running"
        return f"<ActiveRun {excerpt(self.run_id)}, {state}>"


def _cancels(exc: BaseException) -> bool:
    """Say whether an exception ends a run from outside, and not because of what it does."""
    if isinstance(exc, KeyboardInterrupt | GeneratorExit):
        return True
    if isinstance(exc, SystemExit):
        # What ends the process as well is no failure; anything else, a text too, is.
        return exc.code is None or (isinstance(exc.code, int) and exc.code == 0)
    if isinstance(exc, BaseExceptionGroup):
        # As the nurseries of trio pass them on.
        return all(map(_cancels, exc.exceptions))
    # Where a framework was never imported, nothing of it can have been raised.
    found = (getattr(sys.modules.get(module), name, None) for module, name in _CANCELLATIONS)
    return any(isinstance(exc, each) for each in found if isinstance(each, type))


def _reason(exc: BaseException) -> str:
    """Return an exception as one line that can be stored, and that lists of runs can be read with."""
    name = type(exc).__name__
    try:
        text = " ".join(str(exc).split())
    except Exception:
        text = ""
    line = f"{name}: {text}" if text else name
    stored = line.encode("utf-8", "backslashreplace")
    if len(stored) > _LONGEST_REASON:
        mark = f" ... ({len(line)} characters in all)".encode()
        stored = stored[: _LONGEST_REASON - len(mark)] + mark
    return stored.decode("utf-8", "ignore")
