"""Copying a store row by row, between a file and PostgreSQL too.

Each table is read in the order in which its rows were recorded, from one moment of the source. So many rows at a time
go to the destination, together with a mark that says how far the copy is: one that was killed goes on there, if the
source is as it was. A digest of the rows, chained one by one, says so; at the end the destination must have the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from orchestrator.state_store import _core
from orchestrator.state_store.exceptions import (
    CannotOpenError,
    CorruptDatabaseError,
    InvalidValueError,
    StateStoreError,
)
from orchestrator.state_store.excerpts import excerpt
from orchestrator.state_store.moment import MOST_NAMED, TABLES, Row, Sizes, batches, sizes_of, strays
from orchestrator.state_store.records.upkeep import Copied, CopyProgress
from orchestrator.state_store.store import engine_of, is_in_postgres

if TYPE_CHECKING:
    from orchestrator.state_store.core import Core, Snapshot

    _Step = Literal["survey", "copy", "verify"]

_OPTIONAL = {
    *("finished_at", "notes", "heartbeat_at", "recovered_at", "pruned_at"),
    *("decision", "decision_reason", "updated_at"),
}
_INDEXED = {"run_id", "run_type", "started_at", "status", "pruned_at", "item_id", "item_type", "decision", "created_at"}

_LONGEST_ROW = 1_000_000_000
"""The longest row that both engines hold, in bytes."""

_SURELY_INDEXED = 2600
"""So many bytes in the columns of an index are held by any engine."""


class _Mark(NamedTuple):
    """How far a copy is."""

    source: str
    digest: str
    table: str = "runs"
    after: int | None = None
    rows: int = 0
    bytes: int = 0

    def text(self) -> str:
        return json.dumps(self)


def copy_store(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    progress: Callable[[CopyProgress], object] | None = None,
) -> Copied:
    """Copy all runs, intel items and telemetry of a store into a new one, as they are and in the order of recording.

    Times, heartbeats, decisions and the text of JSON stay as they are; cursors of the source mean nothing in the copy.
    What is copied is one moment of the source, which is never written: stop its writers first, since what they write
    later is not in the copy. A copy that was interrupted or killed goes on where it was when the call is repeated; if
    the source has changed meanwhile, it begins again. Afterwards both sides are compared row by row. Tables and columns
    of your own are not copied.

    Parameters
    ----------
    src, dst
        Two stores, as `StateStore` takes them: files, or URLs of PostgreSQL databases. `dst` must not be there yet; in
        PostgreSQL it may be a store without rows. A file has its name once it is whole, and until then that name
        with `.copying` behind it. In PostgreSQL no store opens a copy that is not finished.
    progress
        Called with a `CopyProgress` after each transaction, and now and then in the other steps. An exception that it
        raises ends the copy, and passes on.

    Returns
    -------
    Copied
        How many rows of each table there are, and their digest, which is that of any other copy. Where `dst` holds
        that copy already, nothing is written.

    Raises
    ------
    CannotOpenError
        When `src` cannot be opened, or `dst` holds anything else.
    InvalidValueError
        When `dst` could not hold some rows as they are; the message names them, and nothing was copied.
    CorruptDatabaseError
        When `dst` does not hold what was copied: something else wrote to it, or the disk failed.
    StoreBusyError
        When another `copy_store` writes to `dst`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from orchestrator.state_store import StateStore, copy_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StateStore(Path(folder) / "state.db") as store:
    ...         run = store.start_run("run-1", "daily", {})
    ...     copied = copy_store(Path(folder) / "state.db", Path(folder) / "copy.db")
    ...     copied.runs, copied.intel_items, copied.telemetry
    (1, 0, 0)
    """
    in_file = not is_in_postgres(dst)
    path = _core.locate(dst, "dst") if in_file else os.fspath(dst)
    if path == ":memory:":
        raise InvalidValueError("dst: a copy in memory would be gone at once; name a file")
    is_whole = in_file and os.path.lexists(path)
    begun = f"{path}.copying" if in_file and not is_whole else path
    with ExitStack() as stack:
        source = stack.enter_context(closing(_open(src, "src", read_only=True)))
        moment = stack.enter_context(closing(source.pin()))
        target = stack.enter_context(closing(_open(begun, "dst", read_only=is_whole, unfinished=True)))
        try:
            copied = _Copy(source, moment, target, progress, is_whole=is_whole).run()
        except InvalidValueError:
            if begun != path:
                target.close()
                Path(begun).unlink()
            raise
        if begun != path:
            target.close()
            _core.rename_new(begun, path)
        return copied


def _open(store: str | os.PathLike[str], name: str, *, read_only: bool, unfinished: bool = False) -> Core:
    """Open a store; one in PostgreSQL also if it is an `unfinished` copy."""
    only = {"unfinished": True} if unfinished and is_in_postgres(store) else {}
    try:
        return engine_of(store)(
            store,
            synchronous="FULL",
            busy_timeout=30.0,
            pool_size=4,
            read_only=read_only,
            file_mode=0o600,
            trace_sql=False,
            json_default=None,
            strict=False,
            **only,
        )
    except StateStoreError as error:
        raise type(error)(f"copy_store: {name}: {error}") from None


class _Copy:
    """One call's copy."""

    def __init__(
        self,
        source: Core,
        moment: Snapshot,
        target: Core,
        progress: Callable[[CopyProgress], object] | None,
        *,
        is_whole: bool,
    ) -> None:
        self.source, self.moment, self.target, self.progress = source, moment, target, progress
        self.is_whole = is_whole

    def run(self) -> Copied:
        """Copy what is not copied yet, and compare."""
        store_id = str(self.moment.query("SELECT store_id FROM store_identity")[0][0])
        sizes = sizes_of(self.moment)
        text = self.target.copy_mark()
        mark = None if text is None else _Mark(*json.loads(text))
        if mark is None:
            with closing(self.target.pin()) as there:
                found = sizes_of(there)
                if any(rows for rows, _ in found.values()) or self.is_whole:
                    return self._compare(sizes, there, found)
        elif mark.source != store_id:
            raise self._refused("is an unfinished copy of another store")
        digest = self._survey(sizes)
        if mark is None or mark.digest != digest:
            mark = _Mark(store_id, digest)
            self.target.begin_copy(mark.text())
        mark = self._copy(mark, sizes)
        with closing(self.target.pin()) as there:
            if self._digest("verify", there, sizes_of(there)) != digest:
                raise CorruptDatabaseError(
                    f"copy_store: {self.target.location} does not hold what was copied: something else has written to "
                    "it, or its disk is damaged; remove it, and repeat the call"
                )
        self.target.end_copy(mark.text())
        return _copied(sizes, digest)

    def _compare(self, sizes: Sizes, there: Snapshot, found: Sizes) -> Copied:
        """Return what a destination that is there already holds, if it is this copy."""
        own_id, store_id = (
            moment.query("SELECT store_id FROM store_identity")[0][0] for moment in (there, self.moment)
        )
        if own_id and own_id == store_id:
            raise self._refused("is the store itself that is to be copied")
        if _counts(found) == _counts(sizes):
            digest = self._digest("survey", self.moment, sizes)
            if self._digest("verify", there, found) == digest:
                return _copied(sizes, digest)
        raise self._refused(f"is there already, and holds something else than {self.source.location}")

    def _refused(self, why: str) -> CannotOpenError:
        what = f"copy_store: {self.target.location} {why}"
        return CannotOpenError(f"{what}; nothing was copied; name another destination")

    def _survey(self, sizes: Sizes) -> str:
        """Return the digest of the source.

        Raises
        ------
        InvalidValueError
            When the destination could not hold some rows.
        """
        faults = strays(self.moment)
        digest = self._digest("survey", self.moment, sizes, faults)
        if faults:
            more = "; ..." if len(faults) > MOST_NAMED else ""
            raise InvalidValueError(
                f"copy_store: {self.target.location} cannot hold some rows as they are, and nothing was copied: "
                f"{'; '.join(faults[:MOST_NAMED])}{more}"
            )
        return digest

    def _copy(self, mark: _Mark, sizes: Sizes) -> _Mark:
        """Copy the rows behind the mark."""
        tables = list(TABLES)
        for table in tables[tables.index(mark.table) :]:
            after = mark.after if table == mark.table else None
            for rows, size, last in batches(self.moment, table, after):
                following = mark._replace(table=table, after=last, rows=mark.rows + len(rows), bytes=mark.bytes + size)
                self.target.copy_rows(table, list(TABLES[table]), rows, mark.text(), following.text())
                mark = following
                self._tell("copy", sizes, mark.rows, mark.bytes)
        return mark

    def _digest(self, step: _Step, moment: Snapshot, sizes: Sizes, faults: list[str] | None = None) -> str:
        """Return the digest of all rows. What the destination could not hold of them is added to `faults`."""
        total = sha256()
        rows = size = 0
        for table in TABLES:
            digest = b""
            for batch in batches(moment, table, None, faults):
                for row in batch.rows:
                    digest = sha256(digest + json.dumps(row).encode()).digest()
                if faults is not None:
                    faults += filter(None, (self._fault(table, row) for row in batch.rows))
                    if len(faults) > MOST_NAMED:
                        return ""
                rows, size = rows + len(batch.rows), size + batch.bytes
                self._tell(step, sizes, rows, size)
            total.update(digest)
        return total.hexdigest()

    def _fault(self, table: str, row: Row) -> str | None:
        """Return why the destination could not hold a row."""
        cells = list(zip(TABLES[table], row, strict=True))
        fault = next((f"{name} is NULL" for name, cell in cells if cell is None and name not in _OPTIONAL), None)
        if fault is None and _may_exceed(_LONGEST_ROW, row):
            fault = f"it is longer than {_LONGEST_ROW} bytes"
        if fault is None and _may_exceed(_SURELY_INDEXED, [cell for name, cell in cells if name in _INDEXED]):
            fault = self.target.copy_fault(table, list(TABLES[table]), row)
        return None if fault is None else f"{table} {excerpt(str(row[0]))}: {fault}"

    def _tell(self, step: _Step, sizes: Sizes, rows: int, size: int) -> None:
        if self.progress is not None:
            total = [sum(each) for each in zip(*sizes.values(), strict=True)]
            self.progress(CopyProgress(step, rows, total[0], size, total[1]))


def _may_exceed(limit: int, cells: Iterable[str | None]) -> bool:
    """Say whether texts may come to more bytes than that, in any engine: there a character takes five at most."""
    texts = [cell for cell in cells if cell is not None]
    if sum(map(len, texts)) <= limit // 5:
        return False
    return sum(len(_core.Arguments.escape(text).encode()) for text in texts) > limit


def _copied(sizes: Sizes, digest: str) -> Copied:
    return Copied(**_counts(sizes), digest=digest)


def _counts(sizes: Sizes) -> dict[str, int]:
    return {table: rows for table, (rows, _) in sizes.items()}
