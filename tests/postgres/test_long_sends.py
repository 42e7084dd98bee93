"""Batches that are on their way for longer than `busy_timeout`."""

from __future__ import annotations

import time

import psycopg
from orchestrator.state_store._postgres import address
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.session import Opener

from tests import servers
from tests.helpers import TIMEOUT


def test_server_that_waits_for_what_is_being_sent_is_not_idle(url: str) -> None:
    """It reads quicker than it is sent: nobody may take it for one whose answer was lost."""
    session = Opener(address.parse(url), full=True, writing=True).open(Deadline(TIMEOUT))
    sent = session.pgconn
    sent.enter_pipeline_mode()
    sent.send_query_params(b"BEGIN", [])
    sent.send_query_params(b"SELECT length($1)", [b"x" * (50 << 20)])
    assert sent.flush() == 1
    limit = time.monotonic() + TIMEOUT
    with psycopg.connect(servers.shared(), autocommit=True) as other:
        sql = "SELECT state, wait_event FROM pg_stat_activity WHERE pid = %s"
        while other.execute(sql, [sent.backend_pid]).fetchall() != [("active", "ClientRead")]:
            assert time.monotonic() < limit
    assert session._works(sending=True)
    assert not session._works(sending=False)
    sent.finish()
