"""A small read-only stand-in for `sqlite3.Connection`, for ad-hoc SELECTs on a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import length_hint
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

if TYPE_CHECKING:
    from orchestrator.state_store._core import Store


class Row(Sequence[Any]):
    """One row of a result: a sequence whose values can also be had by column name, in any case of letters.

    It equals, and hashes as, the tuple of its values.

    >>> row = Row(("a", 1), ("run_id", "n"))
    >>> row["n"], row[0], row.keys(), dict(row)
    (1, 'a', ['run_id', 'n'], {'run_id': 'a', 'n': 1})
    """

    __module__ = "orchestrator.state_store"
    __slots__ = ("_columns", "_values")

    def __init__(self, values: tuple[Any, ...], columns: tuple[str, ...]) -> None:
        self._values = values
        self._columns = columns

    def keys(self) -> list[str]:
        """Return the column names, in order."""
        return list(self._columns)

    @overload
    def __getitem__(self, key: SupportsIndex | str, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
    def __getitem__(self, key: SupportsIndex | slice | str, /) -> Any:
        """Return the value at a position or of a named column; IndexError if there is none."""
        if not isinstance(key, str):
            return self._values[key]
        wanted = key.lower()
        for value, column in zip(self._values, self._columns, strict=True):
            if column.lower() == wanted:
                return value
        raise IndexError(f"no column named {key!r}; the columns are {', '.join(self._columns)}")

    def __len__(self) -> int:
        """Return how many columns there are."""
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        """Compare the values with those of another row, or with a tuple."""
        if isinstance(other, Row):
            return self._values == other._values
        return self._values == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        """Hash as the tuple of the values."""
        return hash(self._values)

    def __repr__(self) -> str:
        """Show each column and its value."""
        pairs = zip(self._columns, self._values, strict=True)
        return f"<Row {', '.join(f'{column}={value!r}' for column, value in pairs)}>"


class Cursor:
    """The result of one `Connection.execute`: all rows are read already, so no read stays open.

    Attributes
    ----------
    description
        One 7-tuple a column, its name first, as in DB-API 2.0.
    rowcount
        Always -1, as `sqlite3` has it for a SELECT.
    """

    __module__ = "orchestrator.state_store"

    rowcount: int = -1

    def __init__(self, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        self.description: tuple[tuple[str, None, None, None, None, None, None], ...] = tuple(
            (name, None, None, None, None, None, None) for name in columns
        )
        self._rows = iter([Row(row, columns) for row in rows])

    def fetchone(self) -> Row | None:
        """Return the next row, or None if none is left."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Row]:
        """Return the next `size` rows, or as many as are left."""
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[Row]:
        """Return all rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows that are left."""
        return self._rows

    def close(self) -> None:
        """Drop the rows that are left."""
        self._rows = iter([])

    def __repr__(self) -> str:
        """Say which columns, and how many rows are left."""
        columns = ", ".join(name for name, *_ in self.description)
        return f"<Cursor of {columns}; rows left: {length_hint(self._rows)}>"


class Connection:
    """Runs ad-hoc SELECTs on a store. Get it from `StateStore.connection`; it holds nothing open.

    Inside a transaction its owner sees the transaction's own writes; everyone else sees what is committed.
    """

    __module__ = "orchestrator.state_store"

    def __init__(self, store: Store) -> None:
        self._store = store

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Cursor:
        """Run one SELECT (or a PRAGMA or EXPLAIN that only reads) and return its rows.

        Parameters
        ----------
        sql
            One statement. Anything that is not a pure read is refused, BEGIN, COMMIT and ATTACH included.
        parameters
            Values for `?` (a sequence) or for `:name` (a mapping): None, int, float, str or bytes.

        Raises
        ------
        ReadOnlyError
            When the statement is not a pure read.
        QueryError
            When the SQL is wrong or the parameters do not fit it.
        InvalidTypeError, InvalidValueError
            When a parameter cannot be bound: another type, or an int of over 64 bits.
        StoreClosedError, StoreBusyError
            As for every call.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.connection.execute("SELECT count(*) AS runs FROM runs").fetchone()["runs"]
        0
        """
        columns, rows = self._store.query(sql, parameters)
        return Cursor(columns, rows)

    def __repr__(self) -> str:
        """Say which file, and whether the store is open."""
        state = "closed" if self._store.closed else "open"
        return f"<Connection {self._store.db_path!r}, {state}, only reads>"
