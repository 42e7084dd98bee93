"""How long one call may wait, in total: `busy_timeout`."""

from __future__ import annotations

import time

from orchestrator.state_store.exceptions import StoreBusyError

_MOST_MILLISECONDS = 2**31 - 1
"""The longest timeout that the server knows."""

_BETWEEN_TRIES = 0.05
"""Seconds between two tries: no server tells when it can be reached, or takes sessions, again."""


class Deadline:
    """The end of a call's waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, 0 or more."""
        return max(0.0, self._end - time.monotonic())

    def wait_to_try_again(self) -> None:
        """Wait a little, but not longer than is left."""
        time.sleep(min(_BETWEEN_TRIES, self.left()))

    def milliseconds(self) -> int:
        """Return what is left for the server: 1 or more, since 0 is for ever there."""
        return max(1, min(_MOST_MILLISECONDS, int(self.left() * 1000)))

    def busy(self) -> StoreBusyError:
        """Return the error that it is over."""
        return StoreBusyError(
            f"still busy after busy_timeout ({self.seconds:g} s): another thread or process holds it; "
            "nothing was changed"
        )
