"""Commits of transactions, and what became of one whose answer did not come."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import psycopg
from orchestrator.state_store._postgres import errors
from orchestrator.state_store._postgres.deadline import Deadline
from orchestrator.state_store._postgres.sessions import Lease, Sessions
from orchestrator.state_store.exceptions import (
    CommitOutcomeUnknownError,
    StateStoreError,
    StorageIOError,
    TransactionDoomedError,
)

if TYPE_CHECKING:
    from orchestrator.state_store._postgres.session import Session

DOOMED = "an earlier error has undone the whole transaction; nothing of it is written; leave it and begin again"


class Commits:
    """Commits transactions. Each leaves a mark of its own in the database, by which it is found again.

    The number of a transaction would not do: after a crash or a failover, the server gives it to another.
    """

    def __init__(self, sessions: Sessions, schema: str, busy_timeout: float) -> None:
        self._sessions, self._schema, self._busy_timeout = sessions, schema, busy_timeout

    def commit(self, session: Session) -> None:
        """Commit the transaction of a session.

        Raises
        ------
        TransactionDoomedError, StorageIOError
            When nothing of it is written.
        CommitOutcomeUnknownError
            When nobody could say so within `busy_timeout`.
        psycopg.Error
            When the server refused it, or ended the session before that.
        """
        token, deadline = secrets.token_hex(16), Deadline(self._busy_timeout)
        session.begin_call(deadline)
        ghost = None
        try:
            cursor = session.execute(f"SELECT {self._schema}.mark_1('{token}'); COMMIT".encode())
            while cursor.nextset():
                pass
            if not session.warnings:
                if cursor.statusmessage != "COMMIT":
                    raise TransactionDoomedError(DOOMED)
                return
            what = f"the server warned at the commit ({session.warnings[0]})"
        except psycopg.Error as error:
            if not errors.is_lost(error) or errors.is_before_commit(error):
                raise
            ghost, what = session.mark, errors.message(error)
        found = self._is_there(token, ghost, deadline)
        if ghost is None and not found:
            # Nobody can end what may still be going on behind a pooler: only that it is there can be known.
            found = None
        if found is None:
            raise CommitOutcomeUnknownError(
                f"{what}; whether it was committed is unknown; check what was written before repeating the transaction"
            )
        if not found:
            raise StorageIOError(f"{what}; nothing of the transaction is written; repeat it")

    def _is_there(self, token: str, ghost: tuple[int, str] | None, deadline: Deadline) -> bool | None:
        """Look a transaction up, once its session cannot commit it any more; None if there is no certainty in time.

        The look locks the mark, so that its own commit is a write: it waits for the standby that the first one lacked.
        """
        while deadline.left() > 0:
            lease = Lease()
            try:
                session = self._sessions.take(lease, deadline)
                if ghost is not None:
                    session.end_ghost(ghost, deadline)
                sql = f"SELECT FROM {self._schema}.marks WHERE token = %s FOR UPDATE"
                found = len(session.execute(sql.encode(), [token]).fetchall()) == 1
                if not session.warnings:
                    return found
            except (psycopg.Error, StateStoreError):
                pass
            finally:
                self._sessions.give_back(lease)
            deadline.wait_to_try_again()
        return None
