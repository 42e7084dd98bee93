"""Two stores as one: each call is made on both, and has to come to the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from orchestrator.state_store.records.page import Page
from orchestrator.state_store.records.run import RunRecord

TIMES = ("started_at", "finished_at", "created_at")
"""What two clocks say. Whether a heartbeat is recorded is a matter of theirs, too: once a second."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")


class Pair:
    """Forwards each call to two stores; raises AssertionError where they do not return, or raise, the same.

    Times are not compared, but whether there is one; nor are messages of errors, and cursors, which mean something to
    their own store only.
    """

    def __init__(self, one: Any, other: Any) -> None:
        self.stores: tuple[Any, Any] = one, other

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return what makes a call on both."""
        return lambda *arguments, **options: _agreed(
            name, [partial(getattr(store, name), *arguments, **options) for store in self.stores]
        )

    def transaction(self) -> Both:
        """Return a transaction of both."""
        return Both("transaction", [store.transaction() for store in self.stores])

    def run(self, *arguments: Any, **options: Any) -> Both:
        """Return the block of a run of both."""
        return Both("run", [store.run(*arguments, **options) for store in self.stores])


class Both:
    """Two blocks that are entered and left as one."""

    def __init__(self, name: str, blocks: list[Any]) -> None:
        self._name, self._blocks = name, blocks

    def __enter__(self) -> None:
        """Enter both."""
        _agreed(f"enter {self._name}", [partial(_enter, block) for block in self._blocks])

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave both."""
        leave = [partial(block.__exit__, exc_type, exc, traceback) for block in self._blocks]
        _agreed(f"leave {self._name}", leave)


def _enter(block: Any) -> None:
    block.__enter__()


def _agreed(name: str, calls: Sequence[Callable[[], Any]]) -> Any:
    """Make calls; return what all return, or raise what all raise."""
    (found, error, first), (_, _, second) = [_outcome(call) for call in calls]
    if first != second:
        raise AssertionError(f"{name}: one comes to {first}, the other to {second}") from error
    if error is not None:
        raise error
    return found


def _outcome(call: Callable[[], Any]) -> tuple[Any, Exception | None, str]:
    """Return what a call returns or raises, and what of it is compared."""
    try:
        found = call()
        found = list(found) if isinstance(found, Iterator) else found
    except Exception as error:
        return None, error, type(error).__name__
    # As JSON, which goes as deep as JSON does, and tells apart what is equal: NaN, -0.0, 1 and True.
    return found, None, json.dumps(_comparable(found), default=repr)


def _comparable(found: Any) -> Any:
    """Return what is to be the same of what a call returns."""
    if isinstance(found, Page):
        return [*map(_record, found), found.next_cursor is not None]
    return [_record(each) for each in found] if isinstance(found, list) else _record(found)


def _record(found: Any) -> Any:
    """Return a run or an item without what clocks have to do with; anything else as it is."""
    if isinstance(found, RunRecord):
        found = dict(vars(found))
        # Of a run that was recovered they say since when it was silent.
        found["notes"] = found["notes"] and _TIME.sub("then", found["notes"])
    elif not (isinstance(found, dict) and "created_at" in found):
        return found
    return {
        name: value is not None if name in TIMES else value for name, value in found.items() if name != "heartbeat_at"
    }
