"""Processes that fork while they use a store: the child begins anew, and the parent keeps its sessions."""

from __future__ import annotations

import pytest

from tests.helpers import in_process
from tests.programs import on_servers


def test_children_leave_the_parent_its_sessions(url: str, pytestconfig: pytest.Config) -> None:
    forks = 200 if pytestconfig.getoption("--full") else 20
    failed, missing, opened = in_process(on_servers.fork_often, url, forks)
    assert (failed, missing) == (0, 0)
    assert opened <= 5, "a session of the parent's was ended, and replaced"


def test_a_child_of_a_call_that_waits_does_not_read_its_answer(url: str) -> None:
    told = in_process(on_servers.fork_in_a_wait, url)
    assert told == ["TransactionError", "written", "waited for"]
