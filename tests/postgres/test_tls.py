"""TLS and passwords: whom a store trusts, and who learns what it knows."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import CannotOpenError, StateStore, StateStoreError

from tests import servers
from tests.conftest import lack
from tests.helpers import item_ids, make_item
from tests.servers import Server, give_away
from tests.servers.tls import Certificates

PASSWORD = "s3cr#t?"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder that the user of the server may look into."""
    with tempfile.TemporaryDirectory(prefix="state-store-tls-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def certificates(folder: Path, tool: Callable[[str], str]) -> Certificates:
    tool("openssl")
    return Certificates(folder)


@pytest.fixture(scope="module")
def server(folder: Path, certificates: Certificates) -> Iterator[Server]:
    """Start a server that takes only TLS and passwords from the network; one of the wheel knows no TLS."""
    if not servers.of_debian():
        lack("PostgreSQL with TLS")
    rules = folder / "hba"
    rules.write_text("local all all trust\nhostssl all all all scram-sha-256\n", encoding="ascii")
    give_away(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "version", None)
        server = Server(certificates.settings | {"hba_file": str(rules)})
    with server:
        server.ask(f"CREATE ROLE worker LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield server


def url_of(server: Server, authority: Path, *, host: str = "localhost", password: str = PASSWORD) -> str:
    options = f"sslmode=verify-full&sslrootcert={authority}"
    return f"postgresql://worker:{password}@{host}:{server.port}/postgres?{options}"


def test_a_server_that_is_vouched_for_is_used(server: Server, certificates: Certificates) -> None:
    with StateStore(url_of(server, certificates.authority)) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a"))
        assert item_ids(store) == ["a"]
        sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'worker'"
        assert server.ask(sql) == [(True,)]
        assert PASSWORD not in repr(store)


def test_a_server_by_another_name_is_refused(server: Server, certificates: Certificates) -> None:
    with pytest.raises(CannotOpenError, match="does not match"):
        StateStore(url_of(server, certificates.authority, host="127.0.0.1"))


def test_a_server_of_another_authority_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CannotOpenError, match="SSL error"):
        StateStore(url_of(server, Certificates(tmp_path).authority))


def test_a_password_is_told_nobody(
    server: Server, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StateStoreError, match="password authentication failed") as caught:
        StateStore(url_of(server, certificates.authority, password=f"{PASSWORD}wrong"))
    told = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in told
    assert PASSWORD not in caplog.text
    assert caught.value.__context__ is None
