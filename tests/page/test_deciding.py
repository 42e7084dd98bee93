"""A decision is changed by a form of the page alone, and only the decision that the form has shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import application

from tests.browsing import BASE, COOKIE, KEY, Client
from tests.helpers import make_item

OWN = {**COOKIE, "origin": BASE, "sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def deciding(path: Path) -> Iterator[tuple[StateStore, Client]]:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a/b", decision="monitor", decision_reason='he said "wait"'))
        yield store, Client(application(store, "state.db", KEY, decide=True))


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
    assert (answer.status_code, answer.headers["location"]) == (303, "/item?id=a%2Fb")
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
    for field in ("id", "decision", "seen"):
        fields = {name: value for name, value in whole.items() if name != field}
        assert send(client, fields).status_code == 400
    assert send(client, {**whole, "id": "none"}).status_code == 404
    assert send(client, {**whole, "reason": "r" * 2_000_000}).status_code == 413


def test_without_decide_there_is_no_form(client: Client) -> None:
    assert "<form class" not in client("/item?id=daily-0/03").text
    assert send(client, {"decision": "promote"}).status_code == 405


def test_the_decisions_of_the_run_are_offered(deciding: tuple[StateStore, Client]) -> None:
    store, client = deciding
    store.upsert_intel_item(make_item("other", decision="escalate"))
    offered = re.findall(r'name="decision" value="(\w*)"', client("/item?id=a/b").text)
    assert offered == ["promote", "monitor", "block", "escalate", ""]
