"""Doubts in the server's clock: what goes by age deletes nothing because of one wild reading."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.state_store.exceptions import ClockError

if TYPE_CHECKING:
    import psycopg

_MOST_MOVED = timedelta(hours=1)
"""How far the clock may move ahead by itself."""

_MOST_IDLE = timedelta(days=400)
"""How long a store may have been idle."""


class Clock:
    """What the server's clock said when the store was opened, and this host's, which nobody can set."""

    def __init__(self, session: psycopg.Connection, schema: str) -> None:
        self._schema = schema
        self._opened = self._read(session)
        self._up = _up()

    def _read(self, session: psycopg.Connection) -> datetime:
        # As a number: the form of a time is a setting of the role.
        [(seconds,)] = session.execute("SELECT extract(epoch FROM clock_timestamp())").fetchall()
        return datetime.fromtimestamp(float(seconds), UTC)

    def check(self, session: psycopg.Connection) -> None:
        """Refuse to go by a clock that is not to be believed.

        Raises
        ------
        ClockError
            When it has moved ahead by itself since the store was opened, or was far beyond the newest time in it then.
        """
        passed = timedelta(seconds=_up() - self._up)
        now = self._read(session)
        moved = now - self._opened - passed
        if moved > _MOST_MOVED:
            raise ClockError(
                f"the server's clock has moved {_long(moved)} ahead since the store was opened, beyond the time that "
                "has passed; nothing was changed; open a new store when it is right, or pass trust_clock=True"
            )
        sql = f"""SELECT max(newest) FROM (
            SELECT max(started_at) FROM {self._schema}.runs WHERE started_at <= %(at)s
            UNION ALL SELECT max(heartbeat_at) FROM {self._schema}.runs
                WHERE status = 'running' AND heartbeat_at <= %(at)s
            UNION ALL SELECT max(created_at) FROM {self._schema}.intel_items WHERE created_at <= %(at)s
            ) AS newest(newest)"""
        [(newest,)] = session.execute(sql.encode(), {"at": self._opened.isoformat()}).fetchall()
        try:
            idle = now - datetime.fromisoformat(newest or "") - passed
        except (ValueError, TypeError):
            return
        if idle > _MOST_IDLE:
            raise ClockError(
                f"the server's clock is {_long(idle)} beyond the newest time that was in the store when it was opened; "
                "nothing was changed; set the clock right, or pass trust_clock=True if it is"
            )


def _up() -> float:
    """Return the seconds since this host was started, those in which it was suspended included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _long(span: timedelta) -> str:
    return f"{span.days} days" if span.days >= 3 else f"{span // timedelta(hours=1)} hours"
