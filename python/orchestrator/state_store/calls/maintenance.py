"""The calls of `StateStore` that look after the file."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

    from orchestrator.state_store import _core
    from orchestrator.state_store.records.upkeep import Checkpointed, Finding, Stats


class Maintenance:
    """Looking after the file: a mixin of `StateStore`."""

    _core: _core.Store

    def stats(self) -> Stats:
        """Count what is in the file, and say what this store has done to it.

        Returns
        -------
        Stats
            Rows by table and status, bytes of the file and its log, versions, and counters.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     stats = store.stats()
        >>> stats.runs_by_status, stats.commits
        ({'running': 1}, 1)
        """
        from orchestrator.state_store.records.upkeep import Stats

        return Stats(**self._core.stats())

    def check(self, *, stale_after: timedelta | float = 3600) -> list[Finding]:
        """Look for what is wrong with the file; it reads all of it, and changes nothing.

        SQLite checks the structure of the file. Then come rows that belong to a run that is not there, JSON columns
        that hold what is no JSON, runs that are `running` but have given no sign of life, and runs that a prune has
        hidden and that a row of a table of your own forbids to delete. While the structure is checked the log cannot
        start over: it grows by what others write.

        Parameters
        ----------
        stale_after
            How long a run that is `running` may give no sign of life: a timedelta, or seconds. A sign is its start, a
            heartbeat, an item or its telemetry.

        Returns
        -------
        list[Finding]
            What was found; empty when all is well.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.check()
        []
        """
        from orchestrator.state_store import times
        from orchestrator.state_store.records.upkeep import Finding

        found = self._core.check(times.seconds(stale_after, "check", "stale_after"))
        return [Finding(*each) for each in found]

    def checkpoint(self) -> Checkpointed:
        """Checkpoint the log (`-wal`) into the file now, and empty it. The store does so by itself as the log grows.

        Whoever is reading keeps what it reads from being checkpointed, and is waited for, up to `busy_timeout`.

        Returns
        -------
        Checkpointed
            Bytes of the log before and after, and whether all of it was checkpointed.

        Raises
        ------
        TransactionError
            Inside a transaction: leave it first.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from orchestrator.state_store import StateStore
        >>> with tempfile.TemporaryDirectory() as folder, StateStore(Path(folder) / "state.db") as store:
        ...     run = store.start_run("run-1", "daily", {})
        ...     done = store.checkpoint()
        >>> done.complete, done.wal_bytes_after
        (True, 0)
        """
        from orchestrator.state_store.records.upkeep import Checkpointed

        return Checkpointed(*self._core.checkpoint())
