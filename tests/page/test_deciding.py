"""A decision is changed by a form of the page alone, and only the decision that the form has shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import application

from tests.browsing import BASE, COOKIE, KEY, PREFIX, Client
from tests.helpers import make_item

OWN = {**COOKIE, "origin": BASE, "sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def deciding(path: Path) -> Iterator[tuple[StateStore, Client]]:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a/b", decision="monitor", decision_reason='he said "wait"'))
        yield store, Client(application(store, "state.db", PREFIX, KEY, decide=True))


def form(client: Client, item_id: str = "a/b") -> dict[str, str]:
    text = client(f"/item?id={item_id}").text
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text)
    return {name: html.unescape(value) for name, value in fields}


def send(client: Client, fields: dict[str, str], **headers: str) -> httpx.Response:
    return client("/decide", "POST", headers={**OWN, **headers}, data=fields)


def decision(store: StateStore) -> tuple[str | None, str | None]:
    item = store.get_intel_item("a/b")
    assert item
    return item["decision"], item["decision_reason"]


def test_a_form_changes_the_decision(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    answer = send(client, {**form(client), "decision": "promote", "reason": " two sources "})
    assert (answer.status_code, answer.headers["location"]) == (303, "item?id=a%2Fb")
    assert decision(store) == ("promote", "two sources")
    assert send(client, {**form(client), "decision": "", "reason": ""}).status_code == 303
    assert decision(store) == (None, None)


def test_a_decision_that_was_changed_meanwhile_stays(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    shown = form(client)
    store.decide("a/b", "block", "withdrawn")
    answer = send(client, {**shown, "decision": "promote"})
    assert answer.status_code == 409
    assert "nothing was changed" in html.unescape(answer.text)
    assert decision(store) == ("block", "withdrawn")


def test_a_reason_that_was_changed_meanwhile_stays(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    shown = form(client)
    store.decide("a/b", "monitor", "another reason")
    assert send(client, {**shown, "decision": "promote"}).status_code == 409
    assert decision(store) == ("monitor", "another reason")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "https://127.0.0.1:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_form_from_elsewhere_is_refused(deciding: tuple[StateStore, Client], headers: dict[str, str]) -> None:
    store, client = deciding
    before = decision(store)
    assert send(client, {**form(client), "decision": "promote"}, **headers).status_code == 403
    assert decision(store) == before


def test_a_form_without_origin_is_refused(deciding: tuple[StateStore, Client]) -> None:
    _, client = deciding
    headers = {name: value for name, value in OWN.items() if name != "origin"}
    fields = {**form(client), "decision": "promote"}
    assert client("/decide", "POST", headers=headers, data=fields).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", "\xfc", KEY, None])
def test_a_form_without_the_token_is_refused(deciding: tuple[StateStore, Client], token: str | None) -> None:
    store, client = deciding
    before = decision(store)
    fields: dict[str, Any] = {**form(client), "decision": "promote", "token": token}
    if token is None:
        del fields["token"]
    assert send(client, fields).status_code == 403
    assert decision(store) == before


def test_a_form_that_lacks_something_or_is_too_large_is_refused(deciding: tuple[StateStore, Client]) -> None:
    _, client = deciding
    whole = {**form(client), "decision": "promote"}
    for field in ("item", "decision", "seen"):
        fields = {name: value for name, value in whole.items() if name != field}
        assert send(client, fields).status_code == 400
    assert send(client, {**whole, "item": '["none"]'}).status_code == 404
    for item in ("a/b", "", "[]", "[1]", '["a/b", ""]', "{", "null", "[" * 100_000):
        assert send(client, {**whole, "item": item}).status_code == 400, item[:9]
    assert send(client, {**whole, "reason": "r" * 2_000_000}).status_code == 413


def test_without_decide_there_is_no_form(client: Client) -> None:
    assert "<form class" not in client("/item?id=daily-0/03").text
    assert send(client, {"decision": "promote"}).status_code == 405


def test_the_decisions_of_the_run_are_offered(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    store.upsert_intel_item(make_item("other", decision="escalate"))
    offered = re.findall(r'name="decision" value="(\w*)"', client("/item?id=a/b").text)
    assert offered == ["promote", "monitor", "block", "escalate", ""]


@pytest.mark.parametrize("item_id", ["esc\x1bape", "new\nline", "two\r\nlines", "\u202ereversed", "nul\x00"])
def test_the_item_that_is_shown_is_the_one_that_is_decided(deciding: tuple[StateStore, Client], item_id: str) -> None:
    """Guards against an id that a page shows with escapes: sent back like that, it may name another item."""
    store, client = deciding
    other = item_id.encode("unicode_escape").decode()
    for each in (item_id, other):
        store.upsert_intel_item(make_item(each))
    assert send(client, {**form(client, quote(item_id)), "decision": "block"}).status_code == 303
    decided = {each: found["decision"] for each in (item_id, other) if (found := store.get_intel_item(each))}
    assert decided == {item_id: "block", other: None}


def test_decisions_that_a_button_would_change_are_not_offered(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    for place, each in enumerate(("a\x1bb", "line\nbreak", "x" * 1000)):
        store.upsert_intel_item(make_item(f"other-{place}", decision=each))
    assert re.findall(r'name="decision" value="([^"]*)"', client("/item?id=a/b").text) == [
        *("promote", "monitor", "block", "")
    ]
