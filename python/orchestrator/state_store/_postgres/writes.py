"""Plain writes: each by itself, and again where nobody knows what became of it and that does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import psycopg
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.sessions import Lease, Sessions
from orchestrator.state_store.exceptions import CommitOutcomeUnknownError, StateStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.state_store._postgres.deadline import Deadline
    from orchestrator.state_store._postgres.session import Session

T = TypeVar("T")


def write(
    sessions: Sessions,
    renew: Callable[[], None],
    work: Callable[[Session, int | None], T],
    deadline: Deadline,
    *,
    repeats: bool,
    advice: str,
) -> T:
    """Do the work in a session, until it is certain that it was committed.

    Every work locks rows, so that its commit is one even if it changes nothing: one that is repeated waits for the
    standby that the first one may have lacked.

    Parameters
    ----------
    sessions, renew
        Where sessions come from, and what drops those that there are.
    work
        Is given a session, and how many milliseconds it may wait for the lock of the store.
    deadline
        The end of all attempts.
    repeats
        Whether the work may be done twice.
    advice
        What to do when nobody knows whether it was committed.

    Raises
    ------
    CommitOutcomeUnknownError
        When it was not certain in time.
    """
    unsure = ""
    ghost: tuple[int, str] | None = None
    while True:
        lease, began = Lease(), False
        try:
            session = sessions.take(lease, deadline)
            if ghost is not None:
                # It may still wait for a lock, and would write later than what is written next.
                session.end_ghost(ghost, deadline)
                ghost = None
            began = True
            done = work(session, deadline.milliseconds())
            if not session.warnings:
                return done
            unsure = f"the server warned at the commit ({session.warnings[0]})"
        except psycopg.Error as error:
            lost = errors.is_lost(error)
            if lost and began:
                ghost, unsure = session.mark, errors.message(error)
            if lost or error.sqlstate == "25006":
                renew()
            elif not errors.is_collision(error):
                if unsure and not errors.is_refusal(error):
                    raise _unknown(unsure, advice) from None
                raise
            if deadline.left() == 0 and not unsure:
                raise
        except StateStoreError:
            if unsure and not began:
                raise _unknown(unsure, advice) from None
            raise
        finally:
            sessions.give_back(lease)
        if unsure and not (repeats and deadline.left() > 0):
            raise _unknown(unsure, advice)
        deadline.wait_to_try_again()


def _unknown(what: str, advice: str) -> CommitOutcomeUnknownError:
    return CommitOutcomeUnknownError(f"{what}; whether it was committed is unknown; {advice}")
