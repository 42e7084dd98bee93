"""The tables and functions of a store: made, brought up to date, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from orchestrator.state_store._postgres import errors
from orchestrator.state_store.exceptions import (
    CannotOpenError,
    ForeignDatabaseError,
    InvalidValueError,
    SchemaTooNewError,
    StoreBusyError,
)

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.deadline import Deadline

_STEPS = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")
"""What makes version 1, and what makes each version of the one before. The functions are replaced with each."""

VERSION = len(_STEPS)
"""The newest schema that this package knows."""

_READING = ("isoformat_1", "now_1", "ago_1", "silent_1")
"""The functions that only read, as whoever calls them: who may SELECT can check, and count what a prune would take."""

_OLDEST_SERVER = 150_000
_HERE = Path(__file__).parent


def prepare(
    connection: psycopg.Connection, schema: str, deadline: Deadline, *, create: bool, unfinished: bool = False
) -> tuple[str, int, int]:
    """Make the store in a schema, or bring it up to date; return its id, its version and the key of its lock.

    With `unfinished`, it may be a copy that is not finished.

    Raises
    ------
    CannotOpenError
        When the server is too old, its encoding is not UTF-8, or `create` is not set and there is no store, or only an
        older one.
    ForeignDatabaseError, SchemaTooNewError
        When the tables there are not ours, or of a newer version of this package.
    InvalidValueError
        When no schema can have that name without quotes.
    """
    if connection.info.server_version < _OLDEST_SERVER:
        found = connection.info.parameter_status("server_version")
        raise CannotOpenError(f"the server is PostgreSQL {found}; a store needs 15 or newer")
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise CannotOpenError("the encoding of the database is not UTF8: create one with ENCODING 'UTF8'")
    try:
        if "unfinished_copy" in _tables(connection, schema) and not unfinished:
            raise CannotOpenError(
                f"the store in the schema {schema} is an unfinished copy: repeat copy_store, or drop the schema"
            )
        version = _version(connection, schema)
        if version < VERSION:
            if not create:
                found = f"there is only one of version {version}" if version else "there is no store"
                raise CannotOpenError(f"{found} in the schema {schema}, and it was to be opened read-only")
            _bring_up_to_date(connection, schema, deadline)
        return _identity(connection, schema)
    except psycopg.Error as error:
        if error.sqlstate in ("42501", "25006"):
            raise CannotOpenError(f"a store in the schema {schema}: {error.diag.message_primary}") from None
        if error.sqlstate == "42601":
            raise InvalidValueError(f"db_path: schema cannot be {schema}, a word of SQL's own") from None
        raise errors.translated(error, inside=False) from None


def _tables(connection: psycopg.Connection, schema: str) -> list[str]:
    """Return the tables that a store has, of those in a schema.

    `to_regclass` would do, but answers from a cache that the wait for a lock does not bring up to date.
    """
    sql = """SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = %s
            AND relname IN ('store_identity', 'runs', 'intel_items', 'telemetry', 'unfinished_copy') ORDER BY 1"""
    return [name for (name,) in connection.execute(sql, [schema])]


def _version(connection: psycopg.Connection, schema: str) -> int:
    """Return the version of a store, 0 where there is none."""
    return _identity(connection, schema)[1] if "store_identity" in _tables(connection, schema) else 0


def _identity(connection: psycopg.Connection, schema: str) -> tuple[str, int, int]:
    key = "hashtextextended('orchestrator.state_store:' || store_id, 0)"
    sql = f"SELECT store_id, schema_version, {key} FROM {schema}.store_identity"
    rows = connection.execute(sql.encode()).fetchall()
    if len(rows) != 1:
        raise ForeignDatabaseError(f"the schema {schema} has a table store_identity that is not a store's")
    store_id, version, lock_key = rows[0]
    if version > VERSION:
        raise SchemaTooNewError(
            f"the store in the schema {schema} has version {version}; this package knows {VERSION} at most"
        )
    return store_id, version, lock_key


def _bring_up_to_date(connection: psycopg.Connection, schema: str, deadline: Deadline) -> None:
    """Make the store what this package knows, unless another does at the same time: then wait for it."""
    connection.execute(f"BEGIN; SET LOCAL lock_timeout = {deadline.milliseconds()}".encode())
    try:
        key = f"orchestrator.state_store/{schema}"
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        version = _version(connection, schema)
        if not version and (tables := _tables(connection, schema)):
            raise ForeignDatabaseError(
                f"the schema {schema} has a table {tables[0]} already, and it is not a store's; "
                "name another one by ?schema="
            )
        if version < VERSION:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
            for name in (*_STEPS[version:], "functions.sql", "views.sql"):
                text = (_HERE / name).read_text(encoding="utf-8")
                text = text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
                connection.execute(text.replace("{schema}", schema).encode())
            # Those that this transaction has made: others may have functions in the schema, too.
            made = connection.execute("SELECT oid::regprocedure FROM pg_proc WHERE xmin = pg_current_xact_id()::xid")
            names = ", ".join(name for (name,) in made)
            connection.execute(f"REVOKE EXECUTE ON FUNCTION {names} FROM PUBLIC".encode())
            functions = ", ".join(f"{schema}.{name}" for name in _READING)
            connection.execute(f"GRANT EXECUTE ON FUNCTION {functions} TO PUBLIC".encode())
        connection.execute(b"COMMIT")
    except BaseException as error:
        if not connection.closed:
            connection.execute(b"ROLLBACK")
        if isinstance(error, psycopg.Error) and error.sqlstate == "55P03":
            what = "another program is making or migrating the store, and was not done within busy_timeout"
            raise StoreBusyError(what) from None
        raise
