"""Where the tests of this folder get their stores from; nothing else here knows what a store is kept in.

A second engine is one more class, and one more line in `ENGINES`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from orchestrator.state_store import StateStore

from tests import servers
from tests.helpers import in_process, plain_sqlite
from tests.programs import plain
from tests.servers import pooler


class Engine:
    """What keeps the rows of a store.

    `lasts` says whether they outlive it and other stores find them, `concurrent` whether they are read while another
    thread is in a transaction, which sees them as they were before it.
    """

    location: str
    lasts = True
    concurrent = True
    quick: ClassVar[dict[str, Any]] = {}
    """Options for a store whose writes need not wait for the disk."""

    def __init__(self, folder: Path) -> None:
        """Begin without rows. The folder is the test's own."""
        self.folder = folder

    def open(self, **options: Any) -> StateStore:
        """Open a store: one on the same rows as the last, if they last."""
        return StateStore(self.location, **options)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table as they are, oldest first."""
        raise NotImplementedError

    def add(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Write rows as another program would."""
        raise NotImplementedError

    def edit(self, table: str, where: dict[str, Any] | None = None, **values: Any) -> None:
        """Change rows as another program would."""
        raise NotImplementedError

    def remove(self, table: str, where: dict[str, Any]) -> None:
        """Delete rows as another program would."""
        raise NotImplementedError


class File(Engine):
    """A file of SQLite's, which others change by plain `sqlite3`."""

    quick: ClassVar[dict[str, Any]] = {"synchronous": "NORMAL"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.location = str(folder / "state.db")

    def rows(self, table: str) -> list[dict[str, Any]]:
        columns = [name for _, name, *_ in plain_sqlite(Path(self.location), f"PRAGMA table_info({table})")]
        rows = plain_sqlite(Path(self.location), f"SELECT * FROM {table} ORDER BY rowid")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def add(self, table: str, rows: list[dict[str, Any]]) -> None:
        file = self.folder / "rows.json"
        file.write_text(json.dumps(rows), encoding="utf-8")
        in_process(plain.insert, self.location, table, str(file))

    def edit(self, table: str, where: dict[str, Any] | None = None, **values: Any) -> None:
        changes = ", ".join(f"{column} = ?" for column in values)
        condition, operands = self.condition(where or {})
        plain_sqlite(Path(self.location), (f"UPDATE {table} SET {changes}{condition}", [*values.values(), *operands]))

    def remove(self, table: str, where: dict[str, Any]) -> None:
        condition, operands = self.condition(where)
        plain_sqlite(Path(self.location), (f"DELETE FROM {table}{condition}", operands))

    def condition(self, where: dict[str, Any]) -> tuple[str, list[Any]]:
        tests = " AND ".join(f"{column} IS ?" for column in where)
        return f" WHERE {tests}" if tests else "", list(where.values())


class Memory(Engine):
    """A store in memory, gone when it is closed."""

    location = ":memory:"
    lasts = False
    concurrent = False


class Postgres(Engine):
    """A schema of a throw-away server, which others change by psycopg."""

    quick: ClassVar[dict[str, Any]] = {"synchronous": "NORMAL"}
    numbers = count()

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.schema = f"s{os.getpid()}_{next(self.numbers)}"
        self.location = f"{self.url()}&schema={self.schema}"

    def url(self) -> str:
        """Return the URL of the server, as stores use it."""
        return servers.shared()

    def rows(self, table: str) -> list[dict[str, Any]]:
        order = "run_id" if table == "telemetry" else "seq"
        with self.session() as session:
            cursor = session.execute(f"SELECT * FROM {self.schema}.{table} ORDER BY {order}".encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def add(self, table: str, rows: list[dict[str, Any]]) -> None:
        with self.session() as session:
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                sql = f"INSERT INTO {self.schema}.{table} ({', '.join(row)}) VALUES ({marks})"
                session.execute(sql.encode(), list(row.values()))

    def edit(self, table: str, where: dict[str, Any] | None = None, **values: Any) -> None:
        changes = ", ".join(f"{column} = %s" for column in values)
        self.change(f"UPDATE {self.schema}.{table} SET {changes}", list(values.values()), where or {})

    def remove(self, table: str, where: dict[str, Any]) -> None:
        self.change(f"DELETE FROM {self.schema}.{table}", [], where)

    def change(self, sql: str, values: list[Any], where: dict[str, Any]) -> None:
        tests = " AND ".join(f"{column} IS NOT DISTINCT FROM %s" for column in where)
        with self.session() as session:
            session.execute(f"{sql}{f' WHERE {tests}' if tests else ''}".encode(), [*values, *where.values()])

    def session(self) -> Any:
        import psycopg

        return psycopg.connect(servers.shared())


class Pooled(Postgres):
    """A schema behind a pooler: each transaction of a store may be in another session."""

    def url(self) -> str:
        return pooler.shared()[0]

    def session(self) -> Any:
        import psycopg

        return psycopg.connect(pooler.shared()[1])


ENGINES: dict[str, type[Engine]] = {"file": File, "memory": Memory, "postgres": Postgres, "pooler": Pooled}
OPTIONAL = {"postgres", "pooler"}
"""The engines that are tested where an option of that name says so."""


def examples(most: int) -> settings:
    """Return the settings of a test of so many examples: a tenth of them on a server, unless all is run in full."""
    assert settings.default is not None
    return settings(max_examples=most * settings.default.max_examples // 100)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every engine that has what its fixtures say it needs."""
    used = set(metafunc.fixturenames)
    if "engine_name" in used:
        lasting, concurrent = used & {"lasting", "new_lasting"}, used & {"concurrent"}
        names = [
            name
            for name, engine in ENGINES.items()
            if (name not in OPTIONAL or metafunc.config.getoption(f"--{name}"))
            and (engine.lasts or not lasting)
            and (engine.concurrent or not concurrent)
        ]
        metafunc.parametrize("engine_name", names, scope="session")


@pytest.fixture(scope="session")
def new_engine(
    engine_name: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], Engine]:
    """Return what makes an engine without rows."""
    if engine_name in OPTIONAL:
        request.getfixturevalue("postgresql")
    if engine_name == "pooler":
        request.getfixturevalue("tool")("pgbouncer")
    return lambda: ENGINES[engine_name](tmp_path_factory.mktemp(engine_name))


@pytest.fixture(scope="session")
def new_lasting(new_engine: Callable[[], Engine]) -> Callable[[], Engine]:
    """Return what makes an engine without rows whose rows last."""
    return new_engine


@pytest.fixture
def engine(new_engine: Callable[[], Engine]) -> Engine:
    """Return an engine without rows."""
    return new_engine()


@pytest.fixture
def lasting(engine: Engine) -> Engine:
    """Return an engine for a test that opens it again, or from elsewhere, or looks at its rows by other means."""
    return engine


@pytest.fixture
def concurrent(engine: Engine) -> Engine:
    """Say that a test reads in one thread while another is in a transaction."""
    return engine


@pytest.fixture
def begun(lasting: Engine) -> Engine:
    """Return an engine like that, with the run `run-1`."""
    with lasting.open() as store:
        store.start_run("run-1", "daily", {})
    return lasting


@pytest.fixture
def store(engine: Engine) -> Iterator[StateStore]:
    """Open a store, with the run `run-1` in it."""
    with engine.open() as store:
        store.start_run("run-1", "daily", {})
        yield store
