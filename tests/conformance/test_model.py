"""Random sequences of calls, nested transactions and failures included, against a model of the API in plain Python."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.state_store import (
    IntelItemNotFoundError,
    InvalidValueError,
    MissingFieldError,
    RunActiveError,
    RunExistsError,
    RunFinishedError,
    RunNotFoundError,
    RunRecord,
    StateStore,
)

from tests.conformance.conftest import Engine
from tests.helpers import REQUIRED_FIELDS, Boom, item_ids, make_item

DEFAULTS: dict[str, Any] = {
    "claims_json": [],
    "evidence_json": [],
    "scores_json": {},
    "risk_flags_json": [],
    "explainability_json": [],
    "decision": None,
    "decision_reason": None,
}

RUN_IDS = ["run 1", "run 2", "run 3"]

Dead = tuple[RunRecord, dict[str, Any]]
"""A run that was recovered, and the only item that it had recorded."""


class Model:
    """What a store ought to hold. Each call raises what the store ought to raise, before it changes anything."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.telemetry: dict[str, Any] = {}
        self.recovered: dict[str, str] = {}
        """The runs that were recovered, and what their notes said of it."""

    def begin_with(self, dead: Dead) -> None:
        """Have a run that was recovered, with an item."""
        run, item = dead
        self.runs[run.run_id] = [run.run_type, run.status, True, run.notes, json.dumps(run.settings_snapshot_json)]
        self.items[item["item_id"]] = item
        self.recovered[run.run_id] = run.notes or ""

    def start_run(self, run_id: str, run_type: str, settings_snapshot: Any, *, if_exists: str = "error") -> None:
        settings_text = json.dumps(settings_snapshot)
        if run_id in self.runs:
            if if_exists == "return" and self.runs[run_id][0] == run_type:
                return
            raise RunExistsError
        self.runs[run_id] = [run_type, "running", False, None, settings_text]

    def finish_run(self, run_id: str, status: str, notes: str | None, *, force: bool = False) -> None:
        if status == "running":
            raise InvalidValueError
        self.takes_writes(run_id, force=force)
        self.runs[run_id][1:4] = [status, True, notes]

    def reopen_run(self, run_id: str) -> None:
        self.known(run_id)
        run = self.runs[run_id]
        if run_id not in self.recovered and run[1] != "running":
            raise RunFinishedError
        notes = None if run_id in self.recovered and run[3] == self.recovered[run_id] else run[3]
        run[1:4] = ["running", False, notes]
        self.recovered.pop(run_id, None)

    def delete_run(self, run_id: str) -> None:
        self.known(run_id)
        if self.runs[run_id][1] == "running":
            raise RunActiveError
        del self.runs[run_id]
        self.recovered.pop(run_id, None)
        self.telemetry.pop(run_id, None)
        self.items = {item_id: item for item_id, item in self.items.items() if item["run_id"] != run_id}

    def heartbeat(self, run_id: str) -> None:
        self.takes_writes(run_id)
        if self.runs[run_id][1] != "running":
            raise RunFinishedError

    def write_telemetry(self, run_id: str, telemetry: Any, *, force: bool = False) -> None:
        text = json.dumps(telemetry)
        self.takes_writes(run_id, force=force)
        self.telemetry[run_id] = text

    def merge_telemetry(self, run_id: str, telemetry: Any, *, force: bool = False) -> None:
        members = json.loads(json.dumps(telemetry))
        document = json.loads(self.telemetry.get(run_id, "{}"))
        if not isinstance(document, dict):
            raise InvalidValueError
        self.takes_writes(run_id, force=force)
        self.telemetry[run_id] = json.dumps(document | members)

    def upsert_intel_item(self, item: dict[str, Any]) -> None:
        self.upsert_intel_items_batch([item])

    def upsert_intel_items_batch(self, items: list[dict[str, Any]]) -> None:
        checked = [self.check(item) for item in items]
        for item in checked:
            self.takes_writes(item["run_id"])
        for item in checked:
            first = self.items.get(item["item_id"], item)
            self.items[item["item_id"]] = {**item, "run_id": first["run_id"], "item_type": first["item_type"]}

    def decide(self, item_id: str, decision: str | None, reason: str | None) -> None:
        self.decide_batch({item_id: (decision, reason)})

    def decide_batch(self, decisions: dict[str, tuple[str | None, str | None]]) -> None:
        if not decisions.keys() <= self.items.keys():
            raise IntelItemNotFoundError
        for item_id, (decision, reason) in decisions.items():
            self.items[item_id] = {**self.items[item_id], "decision": decision, "decision_reason": reason}

    def delete_intel_item(self, item_id: str, *, force: bool = False) -> None:
        if item_id in self.items:
            self.takes_writes(self.items[item_id]["run_id"], force=force)
            del self.items[item_id]

    def check(self, item: dict[str, Any]) -> dict[str, Any]:
        for field in REQUIRED_FIELDS:
            if field not in item:
                raise MissingFieldError
            if not isinstance(item[field], str):
                raise TypeError
        whole = {**DEFAULTS, **item}
        whole = {key: whole[key] for key in (*REQUIRED_FIELDS, *DEFAULTS)}
        return {key: json.loads(json.dumps(each)) for key, each in whole.items()}

    def known(self, run_id: str) -> None:
        if run_id not in self.runs:
            raise RunNotFoundError

    def takes_writes(self, run_id: str, *, force: bool = False) -> None:
        self.known(run_id)
        if run_id in self.recovered and not force:
            raise RunFinishedError

    def items_of(self, run_id: str) -> list[dict[str, Any]]:
        return [item for item in self.items.values() if item["run_id"] == run_id]


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
    assert [run.run_id for run in mine] == list(model.runs)[::-1]
    for run in mine:
        assert repr(store.get_run(run.run_id)) == repr(run)
        run_type, status, finished, notes, snapshot = model.runs[run.run_id]
        assert (run.run_type, run.status, run.finished_at is not None, run.notes) == (run_type, status, finished, notes)
        assert repr(run.settings_snapshot_json) == repr(json.loads(snapshot))
        assert repr(store.get_telemetry(run.run_id)) == repr(json.loads(model.telemetry.get(run.run_id, "null")))
        alike = [other for other, fields in model.runs.items() if fields[:2] == [run_type, status]]
        filters: dict[str, Any] = {"run_type": run_type, "status": status, "since": since}
        assert {each.run_id for each in store.list_runs(**filters)} >= set(alike)
        assert store.count_runs(**filters) == len(store.list_runs(**filters))
    for run_id in RUN_IDS:
        assert (store.get_run(prefix + run_id) is None) == (prefix + run_id not in model.runs)


def check_items(store: StateStore, model: Model, prefix: str) -> None:
    """Ask for the items of one example, one by one and in lists; check the answers."""
    filters: dict[str, Any] = {"since": beginning(store, prefix)}
    mine = [item for item in store.list_intel_items(**filters) if item["item_id"].startswith(prefix)]
    assert [item["item_id"] for item in mine] == list(model.items)
    for item in mine:
        assert repr(store.get_intel_item(item["item_id"])) == repr(item)
        fields = model.items[item["item_id"]]
        decided = {"undecided": True} if fields["decision"] is None else {"decision": fields["decision"]}
        alike = {"run_id": fields["run_id"], "item_type": fields["item_type"], **decided}
        expected = [
            other
            for other, each in model.items.items()
            if all(each[name] == fields[name] for name in ("run_id", "item_type", "decision"))
        ]
        assert [each["item_id"] for each in store.list_intel_items(**alike, fields=["item_id"])] == expected
        assert store.count_intel_items(**alike) == len(expected)
        of_all = store.list_intel_items(item_type=fields["item_type"], **decided, **filters)
        assert {each["item_id"] for each in of_all} >= set(expected)
        title = fields["title"]
        where = {"scores_json": ("=", title), "claims_json": ("exists", True)}
        assert [each["item_id"] for each in store.iter_intel_items(run_id=fields["run_id"], where=where)] == [
            other
            for other, each in model.items.items()
            if each["run_id"] == fields["run_id"] and each["scores_json"] == title
        ]
    for item_id in "abcd":
        assert (store.get_intel_item(prefix + item_id) is None) == (prefix + item_id not in model.items)


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
            with pytest.raises(type(error)):
                getattr(store, name)(*arguments, **options)
        else:
            getattr(store, name)(*arguments, **options)


def play_block(store: StateStore, model: Model, prefix: str, inner: list[Any], ending: str) -> None:
    """Make calls in a transaction that is kept or fails."""
    saved = copy.deepcopy(model.__dict__)
    try:
        with store.transaction():
            play(store, model, prefix, inner)
            assert seen(store, prefix) == expected(model)
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
        with pytest.raises(RunExistsError):
            run.__enter__()
        return
    try:
        with run:
            play(store, model, prefix, inner)
            if ending == "fail":
                raise Boom
    except Boom:
        pass
    except RunNotFoundError:
        assert run_id not in model.runs
        return
    if run_id not in model.runs:
        assert ending == "fail"
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


class ItemId(str):
    """An item's id that has no prefix yet."""

    __slots__ = ()


class Item(dict[str, Any]):
    """An item whose ids have no prefix yet."""


known_ids = st.sampled_from([ItemId(name) for name in "abcd"])
run_ids = st.sampled_from(RUN_IDS)
texts = st.sampled_from(["", "t", "a\0b", "😀", "'; --"])
statuses = texts | st.just("running")
odd: list[Any] = [
    None,
    math.nan,
    -0.0,
    2**63,
    2**64,
    10**30,
    5e-324,
    "\ud800",
    {1: "a", "1": "b"},
    (1, (2,)),
    {None: {True: []}},
]
documents = st.sampled_from([{}, [], {"a": [1, {"b": 2.5}]}, math.inf, "text\0", *odd])
bad_documents = st.sampled_from([{1, 2}, [object()], b"bytes", {(1,): 2}])
item_fields = {"item_type": texts, "title": texts, "summary": texts}
optional_fields = {
    **{name: documents for name in DEFAULTS if name.endswith("_json")},
    "decision": st.none() | texts,
    "decision_reason": st.none() | texts,
    "other": st.just(object),
}
items = st.fixed_dictionaries(
    {"item_id": st.sampled_from(["a", "b", "c", "d"]), "run_id": run_ids, **item_fields}, optional=optional_fields
).map(Item)
flaws = st.sampled_from([{"title": None}, {"claims_json": {1, 2}}, {"summary": 5}, {"scores_json": {(1,): 2}}])
bad_items = st.builds(lambda item, flaw: Item({**item, **flaw}), items, flaws) | st.builds(
    lambda item, field: Item({key: item[key] for key in item if key != field}), items, st.sampled_from(REQUIRED_FIELDS)
)


def batch_with_one_bad_item(good: list[Item], bad: Item) -> list[Item]:
    """Put a bad item among good ones of a run that there is, so that one error alone is right."""
    return [*(Item({**item, "run_id": "run 1"}) for item in good), bad]


calls = st.one_of(
    st.tuples(st.just("start_run"), run_ids, texts, documents),
    st.tuples(st.sampled_from(["start_run", "start_run again"]), run_ids, texts, documents),
    st.tuples(st.sampled_from(["finish_run", "finish_run by force"]), run_ids, statuses, st.none() | texts),
    st.tuples(st.just("reopen_run"), run_ids),
    st.tuples(st.just("delete_run"), run_ids),
    st.tuples(st.just("heartbeat"), run_ids),
    st.tuples(st.sampled_from(["write_telemetry", "write_telemetry by force"]), run_ids, documents),
    st.tuples(st.just("write_telemetry"), run_ids, bad_documents),
    st.tuples(
        st.sampled_from(["merge_telemetry", "merge_telemetry by force"]),
        run_ids,
        documents.filter(lambda d: type(d) is dict),
    ),
    st.tuples(st.just("upsert_intel_item"), items),
    st.tuples(st.just("upsert_intel_item"), items),
    st.tuples(st.just("upsert_intel_item"), bad_items),
    st.tuples(st.just("upsert_intel_items_batch"), st.lists(items, max_size=5)),
    st.tuples(st.just("decide"), known_ids, st.none() | texts, st.none() | texts),
    st.tuples(st.sampled_from(["delete_intel_item", "delete_intel_item by force"]), known_ids),
    st.tuples(
        st.just("decide_batch"), st.dictionaries(known_ids, st.tuples(st.none() | texts, st.none() | texts), max_size=3)
    ),
    st.tuples(
        st.just("upsert_intel_items_batch"), st.builds(batch_with_one_bad_item, st.lists(items, max_size=2), bad_items)
    ),
)
sequences = st.recursive(
    st.lists(calls, max_size=6),
    lambda inner: st.lists(
        calls
        | st.tuples(st.just("block"), inner, st.sampled_from(["keep", "fail"]))
        | st.tuples(st.just("run"), run_ids, inner, st.sampled_from(["keep", "fail"])),
        max_size=6,
    ),
    max_leaves=8,
)
prefixes = (f"{number}: " for number in itertools.count())
dead_runs: dict[StateStore, Iterator[tuple[str, Dead]]] = {}
"""Of each store: runs that were recovered, and the prefix of the example that each is for."""


def die(store: StateStore) -> Iterator[tuple[str, Dead]]:
    """Make runs that were recovered, many at a time, since recovering takes long."""
    while True:
        items = {prefix: make_item(f"{prefix}d", f"{prefix}run 3") for prefix in itertools.islice(prefixes, 100)}
        with store.transaction():
            for item in items.values():
                store.start_run(item["run_id"], "daily", {})
                store.upsert_intel_item(item)
        recovered = {run.run_id: run for run in store.recover_stale_runs(0)}
        for prefix, item in items.items():
            yield prefix, (recovered[item["run_id"]], {**item, **DEFAULTS})


@pytest.fixture(scope="module")
def store(new_engine: Callable[[], Engine]) -> Iterator[StateStore]:
    engine = new_engine()
    with engine.open(**engine.quick) as store:
        yield store


def compare(store: StateStore, sequence: list[Any]) -> None:
    """Play a sequence on a store with a dead run, and check what came of it."""
    prefix, dead = next(dead_runs.setdefault(store, die(store)))
    model = Model()
    model.begin_with(dead)
    first: list[Any] = [("start_run", "run 1", "daily", {})]
    play(store, model, prefix, first + sequence)
    assert seen(store, prefix) == expected(model)
    check_runs(store, model, prefix)
    check_items(store, model, prefix)
    assert item_ids(store, f"{prefix}run 1") == [item["item_id"] for item in model.items_of(f"{prefix}run 1")]


@settings(max_examples=1500)
@given(sequences)
def test_sequences_come_to_what_the_model_says(store: StateStore, sequence: list[Any]) -> None:
    compare(store, sequence)
