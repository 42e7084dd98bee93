"""A small read-only stand-in for `sqlite3.Connection`, for ad-hoc SELECTs on a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, overload

from orchestrator.state_store.exceptions import InvalidTypeError, InvalidValueError, QueryError, ReadOnlyError
from orchestrator.state_store.excerpts import cut, excerpt, one_line

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from orchestrator.state_store.core import Core


class Row(Sequence[Any]):
    """One row of a result: a sequence that also gives values by column name, in upper or lower case.

    It equals the tuple of its values, and has the same hash.

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

    def values(self) -> list[Any]:
        """Return the values, in the order of `keys`; pandas asks for them."""
        return list(self._values)

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
        raise IndexError(f"no column named {excerpt(key)}; the columns are {cut(one_line(', '.join(self._columns)))}")

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
    """Runs read-only statements one after another, and holds the rows of the last one.

    All rows are read when `execute` returns, so no read stays open. Get it from `Connection.execute` or `cursor`.

    Attributes
    ----------
    rowcount
        Always -1, as `sqlite3` has it for a SELECT.
    arraysize
        How many rows `fetchmany` returns by default. Can be set; 1 at first.
    """

    __module__ = "orchestrator.state_store"
    __slots__ = ("__weakref__", "_columns", "_connection", "_row_factory", "_rows", "arraysize")

    rowcount: Final = -1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._row_factory = connection.row_factory
        self._columns: tuple[str, ...] | None = None
        self._rows: Iterator[tuple[Any, ...]] | None = iter(())
        self.arraysize: int = 1

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Self:
        """Run one statement as `Connection.execute` does, and return this cursor with its rows.

        Parameters
        ----------
        sql, parameters
            As of `Connection.execute`. The rows of the statement before are dropped, also if this one fails.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     cursor = store.connection.cursor()
        ...     cursor.execute("SELECT 1 AS one UNION ALL SELECT 2").fetchall(), cursor.description[0][0]
        ([<Row one=1>, <Row one=2>], 'one')
        """
        self._left()
        self._columns, self._rows = None, iter(())
        columns, rows = self._connection._store.query(sql, parameters)
        self._columns, self._rows = columns, iter(rows)
        return self

    def executemany(self, sql: str, parameters: object, /) -> NoReturn:
        """Refuse to run: it is for writes, and the connection only reads."""
        raise _refusal("executemany")

    def executescript(self, script: str, /) -> NoReturn:
        """Refuse to run: it is for writes, and the connection only reads."""
        raise _refusal("executescript")

    @property
    def connection(self) -> Connection:
        """The connection of this cursor."""
        return self._connection

    @property
    def description(self) -> tuple[tuple[str, None, None, None, None, None, None], ...] | Any:
        """One 7-tuple a column, its name first, as in DB-API 2.0; None before the first statement."""
        if self._columns is None:
            return None
        return tuple((name, None, None, None, None, None, None) for name in self._columns)

    @property
    def row_factory(self) -> Callable[..., Any] | None:
        """The factory of rows that are fetched from now on; at first, that of the connection."""
        return self._row_factory

    @row_factory.setter
    def row_factory(self, factory: Callable[..., Any] | None) -> None:
        self._row_factory = _checked(factory)

    def _row(self, values: tuple[Any, ...]) -> Any:
        factory = self._row_factory
        if factory is None:
            return values
        if factory is Row:
            return Row(values, self._columns or ())
        return factory(self, values)

    def _left(self) -> Iterator[tuple[Any, ...]]:
        if self._rows is None:
            raise QueryError("the cursor is closed: get another from connection.cursor()")
        return self._rows

    def fetchone(self) -> Any:
        """Return the next row, or None if none is left."""
        return next(self, None)

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next `size` rows (None: `arraysize`), or as many as are left."""
        wanted = self.arraysize if size is None else size
        if wanted < 0:
            raise InvalidValueError(f"fetchmany: size must be 0 or more, not {wanted}")
        return [self._row(values) for values in islice(self._left(), wanted)]

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        return list(self)

    def __iter__(self) -> Self:
        """Iterate over the rows that are left."""
        return self

    def __next__(self) -> Any:
        """Return the next row."""
        return self._row(next(self._left()))

    def close(self) -> None:
        """Drop the rows that are left. Later fetches and statements raise QueryError; closing again does nothing."""
        self._rows = None

    def __repr__(self) -> str:
        """Show the columns, and how many rows are left."""
        columns = ", ".join(self._columns or ()) or "nothing yet"
        state = "closed" if self._rows is None else f"rows left: {length_hint(self._rows)}"
        return f"<Cursor of {columns}; {state}>"


class Connection:
    """Runs ad-hoc SELECTs on a store: the reading part of DB-API 2.0, like `sqlite3.Connection`.

    Get it from `StateStore.connection`; it holds nothing open. Inside a transaction its owner sees the transaction's
    own writes; others see what is committed. `with` does nothing, and `isolation_level` and whatever else `sqlite3` has
    for writing is not there: to set it is an AttributeError. The store is closed by its own `close()`.
    """

    __module__ = "orchestrator.state_store"
    __slots__ = ("__weakref__", "_row_factory", "_store")

    def __init__(self, store: Core) -> None:
        self._store = store
        self._row_factory: Callable[..., Any] | None = Row

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Cursor:
        """Run one SELECT (or a PRAGMA or EXPLAIN that only reads) and return its rows.

        Parameters
        ----------
        sql
            One statement. All but pure reads are refused, also BEGIN, COMMIT and ATTACH.
        parameters
            Values for `?` (a sequence) or for `:name` (a mapping): None, int, float, str or bytes.

        Raises
        ------
        ReadOnlyError
            When the statement is not a pure read.
        QueryError
            When the SQL is wrong or the parameters do not fit it.
        InvalidTypeError, InvalidValueError
            When a parameter cannot be bound: it has the wrong type, or is an int of more than 64 bits.
        StoreClosedError, StoreBusyError
            As for every call.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.connection.execute("SELECT count(*) AS runs FROM runs").fetchone()["runs"]
        0
        """
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: object, /) -> NoReturn:
        """Refuse to run: it is for writes, and the connection only reads."""
        raise _refusal("executemany")

    def executescript(self, script: str, /) -> NoReturn:
        """Refuse to run: it is for writes, and the connection only reads."""
        raise _refusal("executescript")

    def cursor(self) -> Cursor:
        """Return a cursor without rows.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     cursor = store.connection.cursor()
        ...     cursor.row_factory = lambda cursor, values: values[0]
        ...     cursor.execute("SELECT status FROM runs").fetchall()
        []
        """
        return Cursor(self)

    @property
    def row_factory(self) -> Callable[..., Any] | None:
        """The row factory of new cursors, in this thread. Can be set.

        `Row`, which is how it begins, and `sqlite3.Row`, which means the same; None for plain tuples; or a callable
        that is given the cursor and the tuple of a row's values.

        Examples
        --------
        >>> from orchestrator.state_store import StateStore
        >>> with StateStore(":memory:") as store:
        ...     store.connection.row_factory = None
        ...     store.connection.execute("SELECT 1, 2").fetchall()
        [(1, 2)]
        """
        return self._row_factory

    @row_factory.setter
    def row_factory(self, factory: Callable[..., Any] | None) -> None:
        self._row_factory = _checked(factory)

    def commit(self) -> None:
        """Do nothing: a read has nothing to commit. A transaction of the store stays open."""

    def rollback(self) -> None:
        """Do nothing: a read has nothing to roll back. A transaction of the store stays open."""

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing; as with `sqlite3`, the connection can still be used."""

    def __repr__(self) -> str:
        """Say which file, and whether the store is open."""
        state = "closed" if self._store.closed else "open"
        return f"<Connection {self._store.location!r}, {state}, only reads>"


def _checked(factory: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return what makes rows as this factory would."""
    if factory is sqlite3.Row:
        return Row
    if isinstance(factory, type) and issubclass(factory, sqlite3.Row):
        raise InvalidTypeError("row_factory: a subclass of sqlite3.Row takes only cursors of sqlite3; use Row")
    if factory is not None and not callable(factory):
        found = type(factory).__name__
        raise InvalidTypeError(f"row_factory must be Row, None, or a callable of (cursor, values), not {found}")
    return factory


def _refusal(call: str) -> ReadOnlyError:
    return ReadOnlyError(f"{call}: only pure reads are allowed here, one statement at a time; use execute")
