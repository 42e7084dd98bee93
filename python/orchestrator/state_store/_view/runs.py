"""Whether a run is alive, how long it took, and what differs between two runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from orchestrator.state_store import IntelItem, IntelItemNotFoundError, RunNotFoundError, RunRecord, StateStore
from orchestrator.state_store._view.scores import as_number, is_drawable, number
from orchestrator.state_store._view.text import leaves
from orchestrator.state_store._view.times import moment
from orchestrator.state_store._view.times import now as time_now
from orchestrator.state_store.excerpts import excerpt

SILENT_AFTER = timedelta(minutes=10)
"""After how long without a sign of life a run that is running is marked, unless somebody says otherwise."""


def run_of(store: StateStore, run_id: str) -> RunRecord:
    """Return a run, which must be there."""
    run = store.get_run(run_id)
    if run is None:
        raise RunNotFoundError(f"there is no run {excerpt(run_id)}")
    return run


def item_of(store: StateStore, item_id: str) -> IntelItem:
    """Return an item, which must be there."""
    item = store.get_intel_item(item_id)
    if item is None:
        raise IntelItemNotFoundError(f"there is no item {excerpt(item_id)}")
    return item


def last_sign_of_life(run: RunRecord) -> datetime | None:
    """Return the latest of a run's start, heartbeat and end; each write for it counts as a heartbeat."""
    times = [moment(text) for text in (run.started_at, run.heartbeat_at, run.finished_at)]
    return max((time for time in times if time), default=None)


def is_silent(run: RunRecord, after: timedelta = SILENT_AFTER, now: datetime | None = None) -> bool:
    """Return whether a run is `running`, but has given no sign of life for so long; also where none can be read."""
    if run.status != "running":
        return False
    last = last_sign_of_life(run)
    return last is None or (now or time_now()) - last > after


def seconds_taken(run: RunRecord, now: datetime) -> float | None:
    """Return how many seconds a run took, or has taken so far; None if that is not known."""
    start = moment(run.started_at)
    end = moment(run.finished_at) if run.status != "running" else now
    return (end - start).total_seconds() if start and end else None


def completed_before(store: StateStore, run: RunRecord) -> RunRecord | None:
    """Return the last completed run of a run's type that started before it."""
    until = moment(run.started_at)
    found = store.list_runs(run_type=run.run_type, status="completed", until=until, limit=2)
    return next((each for each in found if each.run_id != run.run_id), None)


def earlier_than(store: StateStore, run_id: str) -> RunRecord:
    """Return the run that a run is compared with unless another is named, which must be there."""
    run = run_of(store, run_id)
    before = completed_before(store, run)
    if before is None:
        kind = excerpt(run.run_type)
        raise RunNotFoundError(f"no run of type {kind} was completed before {excerpt(run_id)}: name another run")
    return before


class Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        """Show what is there: nothing."""
        return "ABSENT"


ABSENT = Absent()
"""Stands for a value that one of two documents does not have; None is a value of JSON."""


@dataclass(frozen=True)
class Pair:
    """A value of two documents, by its path; `ABSENT` where one has none."""

    path: str
    before: Any
    after: Any

    @property
    def changed(self) -> bool:
        """Whether they differ."""
        return differ(self.before, self.after)


def differ(before: Any, after: Any) -> bool:
    """Return whether two values of JSON are not the same; 1, 1.0 and true are not, and NaN is itself."""
    return before is not after and repr(before) != repr(after)


def difference(before: Any, after: Any) -> tuple[str, str]:
    """Return how a value changed, and in percent, if it is a number that has changed from another one than 0.

    >>> difference(2, 3), difference("a", "b"), difference(ABSENT, 1)
    (('+1', '+50 %'), ('changed', ''), ('added', ''))
    """
    earlier, later = as_number(before), as_number(after)
    if earlier is None or later is None:
        return "added" if before is ABSENT else "removed" if after is ABSENT else "changed", ""
    by = later - earlier
    if not is_drawable(by):
        return "changed", ""
    sign = "+" if by > 0 else ""
    return f"{sign}{number(by)}", f"{sign}{100 * (by / abs(earlier)):,.3g} %" if by and earlier else ""


@dataclass(frozen=True)
class Pairs:
    """Values of two documents: the first few, those that changed before those that did not."""

    shown: list[Pair]
    changed: int
    same: int

    @property
    def left_out(self) -> int:
        """How many are not among `shown`."""
        return self.changed + self.same - len(self.shown)


@dataclass(frozen=True)
class Change:
    """An item that one of two runs has, or that both have with another decision.

    `item_id` and `title` are those of the later run, where it has the item. A decision is None where the item is
    undecided, and `ABSENT` where the run does not have it.
    """

    item_id: str
    title: str
    before: str | Absent | None
    after: str | Absent | None


class Changes:
    """How many items changed, and the first `most` of them in the order of recording."""

    def __init__(self, most: int) -> None:
        self.count = 0
        self.shown: list[Change] = []
        self._most = most

    def add(self, item_id: str, title: str, before: str | Absent | None, after: str | Absent | None) -> None:
        """Count an item, and keep it if it is among the first."""
        self.count += 1
        if len(self.shown) < self._most:
            self.shown.append(Change(item_id, title, before, after))


@dataclass(frozen=True)
class ItemChanges:
    """Which items differ between two runs.

    Items are the same thing in both runs if their ids are the same behind the run's own id (`run-1/click` and
    `run-2/click`). An item whose id does not begin so belongs for good to the run that recorded it first, whether or
    not it comes again: in the later run it is new, and those of the earlier run are only counted, as `unmatched`.
    """

    new: Changes
    gone: Changes
    decided: Changes
    unmatched: int


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; `decisions` has how many items of each decision they have."""

    before: RunRecord
    after: RunRecord
    settings: Pairs
    telemetry: Pairs
    decisions: dict[str | None, tuple[int, int]]
    items: ItemChanges | None


def compare_runs(store: StateStore, a: str, b: str, *, most: int = 200, items: bool = True) -> Comparison:
    """Compare a run with a later one: settings, telemetry, counts and items; of each list the first `most`.

    Without `items` these are not read, which takes some 3 us each, and memory for those of `a`.

    Raises
    ------
    RunNotFoundError
        When there is no such run.
    """
    before, after = run_of(store, a), run_of(store, b)
    telemetry = store.list_telemetry([a, b])
    counts = [store.count_intel_items_by("decision", run_id=each) for each in (a, b)]
    return Comparison(
        before,
        after,
        _pairs(before.settings_snapshot_json, after.settings_snapshot_json, most),
        _pairs(telemetry.get(a, ABSENT), telemetry.get(b, ABSENT), most),
        {each: (counts[0].get(each, 0), counts[1].get(each, 0)) for each in {**counts[0], **counts[1]}},
        _item_changes(store, a, b, most) if items else None,
    )


def _item_changes(store: StateStore, a: str, b: str, most: int) -> ItemChanges:
    earlier = dict(_items(store, a))
    unmatched = sum(key.startswith(_OWN) for key in earlier)
    new, gone, decided = Changes(most), Changes(most), Changes(most)
    for key, (item_id, title, decision) in _items(store, b):
        known = earlier.pop(key, None)
        if known is None:
            new.add(item_id, title, ABSENT, decision)
        elif known[2] != decision:
            decided.add(item_id, title, known[2], decision)
    for key, (item_id, title, decision) in earlier.items():
        if not key.startswith(_OWN):
            gone.add(item_id, title, decision, ABSENT)
    return ItemChanges(new, gone, decided, unmatched)


_OWN = "="
"""Begins the key of an item whose id does not begin with that of its run."""

_MOST_OF_A_TITLE = 200


def _items(store: StateStore, run_id: str) -> Iterator[tuple[str, tuple[str, str, str | None]]]:
    for item in store.iter_intel_items(run_id=run_id, fields=("item_id", "title", "decision")):
        item_id, rest = item["item_id"], item["item_id"].removeprefix(run_id)
        scoped = len(rest) < len(item_id) and rest and not rest[0].isalnum()
        key = f"-{rest}" if scoped else f"{_OWN}{item_id}"
        yield key, (item_id, item["title"][:_MOST_OF_A_TITLE], item["decision"])


def _pairs(before: Any, after: Any, most: int) -> Pairs:
    earlier, later = ({} if each is ABSENT else dict(leaves(each)) for each in (before, after))
    changed: list[tuple[str, Any, Any]] = []
    same: list[tuple[str, Any, Any]] = []
    for path in dict.fromkeys(chain(earlier, later)):
        pair = (path, earlier.get(path, ABSENT), later.get(path, ABSENT))
        (changed if differ(pair[1], pair[2]) else same).append(pair)
    shown = [Pair(*pair) for pair in chain(changed[:most], same[: max(most - len(changed), 0)])]
    return Pairs(shown, len(changed), len(same))
