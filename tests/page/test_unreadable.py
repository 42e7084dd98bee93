"""What another program wrote and nobody can decode is named, and all else is shown: on the page and in the report."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrator.state_store import InvalidJSONError, StateStore
from orchestrator.state_store._page.app import application
from orchestrator.state_store._report import write

from tests.browsing import KEY, PREFIX, Client, is_plain
from tests.helpers import make_item, plain_sqlite
from tests.page.test_views import seen


@pytest.fixture
def store(path: Path) -> Iterator[StateStore]:
    """Open a store in which one value of each table is not JSON, and one has what acts on a screen."""
    with StateStore(path) as written:
        for run_id in ("run-1", "run-2"):
            written.start_run(run_id, "daily", {"limit": 10})
            written.write_telemetry(run_id, {"seconds": 1.5})
            written.upsert_intel_items_batch(
                make_item(f"{run_id}/{name}", run_id, title=f"Title {name}", scores_json={"total": 5})
                for name in ("good", "bad", "worse")
            )
            written.finish_run(run_id, "completed")
    plain_sqlite(
        path,
        "UPDATE runs SET settings_snapshot_json = '{settings' WHERE run_id = 'run-2'",
        "UPDATE telemetry SET telemetry_json = '{telemetry' WHERE run_id = 'run-2'",
        "UPDATE intel_items SET scores_json = '{scores' WHERE item_id = 'run-2/bad'",
        ("UPDATE intel_items SET evidence_json = ? WHERE item_id = 'run-2/worse'", ["<b>\x1b[31m\u202e"]),
    )
    with StateStore(path, read_only=True) as opened:
        yield opened


RUN, TELEMETRY = 'run "run-2", settings_snapshot_json: not JSON', '"run-2": telemetry_json: not JSON'
SCORES, EVIDENCE = 'item "run-2/bad", scores_json: not JSON', 'item "run-2/worse", evidence_json: not JSON'


@pytest.mark.parametrize(
    ("view", "named", "rest"),
    [
        ("runs", [RUN], ["run-1", "run-2"]),
        ("run?id=run-2", [RUN, TELEMETRY, SCORES], ["Title good", "unreadable: {settings", "unreadable: {telemetry"]),
        ("run?id=run-2&order=best", [RUN, TELEMETRY, SCORES], ["Title good", "Title bad"]),
        ("item?id=run-2/bad", [SCORES], ["Title bad", "unreadable: {scores"]),
        ("item?id=run-2/worse", [EVIDENCE], ["Title worse", "total 5 0 to 10", r"unreadable: <b>\x1b[31m\u202e"]),
        ("item?id=run-2/good", [], ["total 5 0 to 10"]),
        ("compare?after=run-2", [RUN, TELEMETRY], ["run-1", "unreadable: {telemetry"]),
        ("plot?type=daily", [RUN, TELEMETRY], ["1 of 2 runs have this number"]),
        ("search?q=run-", [RUN], ["Title worse"]),
        ("run?id=run-1", [], ["Title good"]),
    ],
)
def test_page(store: StateStore, view: str, named: list[str], rest: list[str]) -> None:
    client = Client(application(store, "state.db", PREFIX, KEY))
    text = seen(client, view)
    assert [each for each in (RUN, TELEMETRY, SCORES, EVIDENCE) if each in text] == named
    assert (f"{len(named)} unreadable" in text) == bool(named)
    assert [each for each in rest if each not in text] == []
    twin = client(view.replace("?", ".json?") if "?" in view else f"{view}.json").json()
    assert len(twin.get("unreadable", {"first": []})["first"]) == len(named)


def test_report(store: StateStore) -> None:
    file = io.BytesIO()
    found = write(store, "run-2", file)
    text = file.getvalue().decode()
    assert is_plain(text)
    assert text.count("<article") == 3
    assert len(found.first) == 4
    assert "<b>4 unreadable</b>" in text
    assert "unreadable: {settings" in text
    assert not write(store, "run-1", file)


def test_only_those_who_show_a_store_get_the_text(store: StateStore) -> None:
    """Programs would take it for what was stored."""
    Client(application(store, "state.db", PREFIX, KEY))("run?id=run-2")
    write(store, "run-2", io.BytesIO())
    with pytest.raises(InvalidJSONError):
        store.get_run("run-2")
    with pytest.raises(InvalidJSONError):
        store.list_intel_items_for_run("run-2")


def test_a_decision_can_be_taken_on_such_an_item(store: StateStore, path: Path) -> None:
    with StateStore(path) as writer:
        client = Client(application(writer, "state.db", PREFIX, KEY, decide=True))
        assert "Clear" in client("item?id=run-2/bad").text
