"""More calls than sessions: which of them gets the next one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from orchestrator.state_store import StoreBusyError, StoreClosedError
from orchestrator.state_store._postgres import address
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.session import Opener
from orchestrator.state_store._postgres.sessions import Lease, Sessions

from tests.helpers import TIMEOUT, in_threads


class Calls:
    """Calls that want the only session there is; `ended` says in which order they had it."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.ended: list[str] = []

    def take(self) -> Lease:
        """Take the session."""
        lease = Lease()
        self.sessions.take(lease, Deadline(TIMEOUT))
        return lease

    def call(self, name: str) -> None:
        """Take the session, and give it back."""
        lease = self.take()
        self.ended.append(name)
        self.sessions.give_back(lease)

    def wait_for(self, count: int) -> None:
        """Return when so many calls wait."""
        limit = time.monotonic() + TIMEOUT
        while len(self.sessions._waiting) < count:
            assert time.monotonic() < limit
            time.sleep(0.001)


@pytest.fixture
def calls(url: str) -> Iterator[Calls]:
    calls = Calls(Sessions(Opener(address.parse(url), full=True, writing=True), 1))
    yield calls
    assert calls.sessions.close(Deadline(TIMEOUT))


def test_calls_have_a_session_in_the_order_in_which_they_came(calls: Calls) -> None:
    """A thread that calls again at once would otherwise have it each time: it holds the interpreter."""
    first = calls.take()

    def busy() -> None:
        calls.wait_for(3)
        calls.sessions.give_back(first)
        calls.call("again")

    def later(number: int) -> None:
        calls.wait_for(number)
        calls.call(f"{number}")

    in_threads([busy, *(lambda number=number: later(number) for number in range(3))])
    assert calls.ended == ["0", "1", "2", "again"]


def test_calls_that_gave_up_keep_nobody_waiting(calls: Calls) -> None:
    first = calls.take()
    late, lost = Lease(), Lease()
    for lease in (late, lost):
        with pytest.raises(StoreBusyError):
            calls.sessions.take(lease, Deadline(0))
    calls.sessions.give_back(late)
    # Of one that was interrupted in the middle of its end, nothing is left but what the queue has.
    del lost, lease

    def wait() -> None:
        calls.call("waited")

    def end() -> None:
        calls.wait_for(2)
        calls.sessions.give_back(first)

    in_threads([wait, end])
    assert calls.ended == ["waited"]
    assert not calls.sessions._waiting


def test_signal_handler_has_a_session_before_the_call_that_it_interrupted(calls: Calls) -> None:
    """That call cannot go on before the handler ends."""
    first = calls.take()

    def busy() -> None:
        calls.wait_for(1)
        os.kill(os.getpid(), signal.SIGUSR1)
        calls.wait_for(2)
        calls.sessions.give_back(first)

    before = signal.signal(signal.SIGUSR1, lambda *_: calls.call("handler"))
    try:
        thread = threading.Thread(target=busy)
        thread.start()
        calls.call("interrupted")
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert calls.ended == ["handler", "interrupted"]


def test_signal_handler_has_the_session_that_its_thread_was_just_given(calls: Calls) -> None:
    """The call that it interrupted has not woken up since."""
    outer = Lease()
    calls.sessions._leases.add(outer)
    calls.call("handler")
    assert calls.ended == ["handler"]
    calls.sessions.take(outer, Deadline(0))
    calls.sessions.give_back(outer)


def test_close_in_a_signal_handler_ends_the_wait_that_it_interrupted(calls: Calls) -> None:
    """The session that is given back meanwhile is not for that call."""
    first = calls.take()

    def busy() -> None:
        calls.wait_for(1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert closing.wait(TIMEOUT)
        calls.sessions.give_back(first)

    def close(*_: object) -> None:
        closing.set()
        assert calls.sessions.close(Deadline(TIMEOUT / 3))

    closing = threading.Event()
    before = signal.signal(signal.SIGUSR1, close)
    try:
        thread = threading.Thread(target=busy)
        thread.start()
        with pytest.raises(StoreClosedError):
            calls.call("interrupted")
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_close_ends_the_wait_for_a_session(calls: Calls) -> None:
    first = calls.take()

    def wait() -> None:
        with pytest.raises(StoreClosedError):
            calls.call("never")

    def close() -> None:
        calls.wait_for(1)
        calls.sessions.refuse()

    in_threads([wait, close])
    calls.sessions.give_back(first)
    assert calls.ended == []
