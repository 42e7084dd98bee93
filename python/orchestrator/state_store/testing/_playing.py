"""Playing a sequence of calls on a store and on the model, and asking the store for all that it should hold then."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from orchestrator.state_store.exceptions import (
    IntelItemNotFoundError,
    InvalidValueError,
    MissingFieldError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
)
from orchestrator.state_store.records.run import RunRecord
from orchestrator.state_store.store import StateStore
from orchestrator.state_store.testing._model import DEFAULTS, REQUIRED_FIELDS, RUN_IDS, Dead, Model
from orchestrator.state_store.testing._sequences import Item, ItemId


class Boom(Exception):
    """An error of the caller's own."""


def same(found: object, wanted: object, what: str) -> None:
    """Raise where a store holds something else than it should; without `assert`, which `python -O` leaves out."""
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} is not {wanted!r}")


def refuses(error: type[BaseException], call: Callable[[], object], what: str) -> None:
    """Raise where a call does not raise that."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{what}: {error.__name__} was not raised")


def runs_of(store: StateStore, prefix: str) -> list[RunRecord]:
    """Return the runs of one example that are there."""
    return [run for run in (store.get_run(prefix + run_id) for run_id in RUN_IDS) if run is not None]


def seen(store: StateStore, prefix: str) -> list[str]:
    """Return all that a store holds of one example, in a form that tells apart what `==` does not."""
    lines = []
    for run in runs_of(store, prefix):
        documents = run.settings_snapshot_json, store.get_telemetry(run.run_id)
        lines.append(repr((run.run_id, run.run_type, run.status, run.finished_at is not None, run.notes, *documents)))
        for item in store.list_intel_items_for_run(run.run_id):
            fields = dict(item)
            lines.append(repr([fields.pop("created_at") is not None, *sorted(fields.items())]))
    return lines


def expected(model: Model) -> list[str]:
    """Return the same of a model."""
    lines = []
    for run_id, (run_type, status, finished, notes, snapshot) in sorted(model.runs.items()):
        telemetry = model.telemetry.get(run_id)
        documents = json.loads(snapshot), telemetry and json.loads(telemetry)
        lines.append(repr((run_id, run_type, status, finished, notes, *documents)))
        lines += [repr([True, *sorted(item.items())]) for item in model.items_of(run_id)]
    return lines


def beginning(store: StateStore, prefix: str) -> str:
    """Return when the first run of one example started that is there; the end of time where none is."""
    return min((run.started_at for run in runs_of(store, prefix)), default="9999-01-01T00:00:00+00:00")


def check_runs(store: StateStore, model: Model, prefix: str) -> None:
    """Ask for the runs of one example, one by one and in lists; check the answers."""
    since = beginning(store, prefix)
    mine = [run for run in store.list_runs(since=since) if run.run_id.startswith(prefix)]
    same([run.run_id for run in mine], list(model.runs)[::-1], "list_runs")
    for run in mine:
        same(repr(store.get_run(run.run_id)), repr(run), "get_run")
        run_type, status, finished, notes, snapshot = model.runs[run.run_id]
        found = run.run_type, run.status, run.finished_at is not None, run.notes
        same(found, (run_type, status, finished, notes), "list_runs")
        same(repr(run.settings_snapshot_json), repr(json.loads(snapshot)), "settings_snapshot_json")
        telemetry = json.loads(model.telemetry.get(run.run_id, "null"))
        same(repr(store.get_telemetry(run.run_id)), repr(telemetry), "get_telemetry")
        alike = [other for other, fields in model.runs.items() if fields[:2] == [run_type, status]]
        filters: dict[str, Any] = {"run_type": run_type, "status": status, "since": since}
        same(set(alike) - {each.run_id for each in store.list_runs(**filters)}, set(), "list_runs by type and status")
        same(store.count_runs(**filters), len(store.list_runs(**filters)), "count_runs")
    for run_id in RUN_IDS:
        same(store.get_run(prefix + run_id) is None, prefix + run_id not in model.runs, "get_run")


def check_items(store: StateStore, model: Model, prefix: str) -> None:
    """Ask for the items of one example, one by one and in lists; check the answers."""
    filters: dict[str, Any] = {"since": beginning(store, prefix)}
    mine = [item for item in store.list_intel_items(**filters) if item["item_id"].startswith(prefix)]
    same([item["item_id"] for item in mine], list(model.items), "list_intel_items")
    for item in mine:
        same(repr(store.get_intel_item(item["item_id"])), repr(item), "get_intel_item")
        fields = model.items[item["item_id"]]
        decided = {"undecided": True} if fields["decision"] is None else {"decision": fields["decision"]}
        alike = {"run_id": fields["run_id"], "item_type": fields["item_type"], **decided}
        expected = [
            other
            for other, each in model.items.items()
            if all(each[name] == fields[name] for name in ("run_id", "item_type", "decision"))
        ]
        found = [each["item_id"] for each in store.list_intel_items(**alike, fields=["item_id"])]
        same(found, expected, "list_intel_items by run, type and decision")
        same(store.count_intel_items(**alike), len(expected), "count_intel_items")
        of_all = store.list_intel_items(item_type=fields["item_type"], **decided, **filters)
        same(set(expected) - {each["item_id"] for each in of_all}, set(), "list_intel_items by type and decision")
        title = fields["title"]
        where = {"scores_json": ("=", title), "claims_json": ("exists", True)}
        found = [each["item_id"] for each in store.iter_intel_items(run_id=fields["run_id"], where=where)]
        of_run = ((other, each) for other, each in model.items.items() if each["run_id"] == fields["run_id"])
        same(found, [other for other, each in of_run if each["scores_json"] == title], "iter_intel_items by where")
    for item_id in "abcd":
        same(store.get_intel_item(prefix + item_id) is None, prefix + item_id not in model.items, "get_intel_item")


OPTIONS: dict[str, dict[str, Any]] = {" by force": {"force": True}, " again": {"if_exists": "return"}}
"""What the name of a call ends with that is made with an option."""


def play(store: StateStore, model: Model, prefix: str, sequence: list[Any]) -> None:
    """Make the same calls on both; check that they raise the same and come to the same."""
    for name, *arguments in sequence:
        if name == "run":
            play_run(store, model, prefix, *arguments)
            continue
        if name == "block":
            play_block(store, model, prefix, *arguments)
            continue
        arguments = [rename(prefix, each) for each in arguments]
        ending = next((ending for ending in OPTIONS if name.endswith(ending)), "")
        options = OPTIONS.get(ending, {})
        name = name.removesuffix(ending)
        try:
            getattr(model, name)(*arguments, **options)
        except (
            RunActiveError,
            RunExistsError,
            RunFinishedError,
            RunNotFoundError,
            IntelItemNotFoundError,
            InvalidValueError,
            MissingFieldError,
            TypeError,
        ) as error:
            refuses(type(error), partial(getattr(store, name), *arguments, **options), name)
        else:
            getattr(store, name)(*arguments, **options)


def play_block(store: StateStore, model: Model, prefix: str, inner: list[Any], ending: str) -> None:
    """Make calls in a transaction that is kept or fails."""
    saved = copy.deepcopy(model.__dict__)
    try:
        with store.transaction():
            play(store, model, prefix, inner)
            same(seen(store, prefix), expected(model), "in a transaction")
            check_runs(store, model, prefix)
            check_items(store, model, prefix)
            if ending == "fail":
                raise Boom
    except Boom:
        model.__dict__.update(saved)


def play_run(store: StateStore, model: Model, prefix: str, run_id: str, inner: list[Any], ending: str) -> None:
    """Make calls in the block of a run, which ends well or fails; a run that was finished inside it stays so.

    One that was deleted inside it cannot be finished.
    """
    run_id = rename(prefix, run_id)
    run = store.run(run_id, "daily", {})
    try:
        model.start_run(run_id, "daily", {})
    except RunExistsError:
        refuses(RunExistsError, run.__enter__, "run")
        return
    try:
        with run:
            play(store, model, prefix, inner)
            if ending == "fail":
                raise Boom
    except Boom:
        pass
    except RunNotFoundError:
        same(run_id in model.runs, False, "run")
        return
    if run_id not in model.runs:
        same(ending, "fail", "run")
    elif model.runs[run_id][1] == "running":
        model.runs[run_id][1:4] = ["failed", True, "Boom"] if ending == "fail" else ["completed", True, None]


def rename(prefix: str, argument: Any) -> Any:
    """Give the ids of an example a prefix, so that examples that share a store do not meet."""
    if isinstance(argument, str) and argument.startswith("run "):
        return prefix + argument
    if isinstance(argument, ItemId):
        return prefix + argument
    if isinstance(argument, dict) and any(isinstance(key, ItemId) for key in argument):
        return {prefix + item_id: decision for item_id, decision in argument.items()}
    if isinstance(argument, list) and argument and isinstance(argument[0], Item):
        return [rename(prefix, item) for item in argument]
    if isinstance(argument, Item):
        ids = {key: prefix + argument[key] for key in ("item_id", "run_id") if isinstance(argument.get(key), str)}
        return {**argument, **ids}
    return argument


prefixes = (f"{number}: " for number in itertools.count())
dead_runs: dict[StateStore, Iterator[tuple[str, Dead]]] = {}
"""Of each store: runs that were recovered, and the prefix of the example that each is for."""


def die(store: StateStore) -> Iterator[tuple[str, Dead]]:
    """Make runs that were recovered, many at a time, since recovering takes long."""
    while True:
        items = {
            prefix: dict.fromkeys(REQUIRED_FIELDS, "t") | {"item_id": f"{prefix}d", "run_id": f"{prefix}run 3"}
            for prefix in itertools.islice(prefixes, 100)
        }
        with store.transaction():
            for item in items.values():
                store.start_run(item["run_id"], "daily", {})
                store.upsert_intel_item(item)
        recovered = {run.run_id: run for run in store.recover_stale_runs(0)}
        for prefix, item in items.items():
            yield prefix, (recovered[item["run_id"]], {**item, **DEFAULTS})


def compare(store: StateStore, sequence: list[Any]) -> None:
    """Play a sequence on a store with a dead run, and check what came of it."""
    prefix, dead = next(dead_runs.setdefault(store, die(store)))
    model = Model()
    model.begin_with(dead)
    first: list[Any] = [("start_run", "run 1", "daily", {})]
    play(store, model, prefix, first + sequence)
    same(seen(store, prefix), expected(model), "at the end")
    check_runs(store, model, prefix)
    check_items(store, model, prefix)
