"""Stored text comes from anywhere: each view shows it, as text."""

from __future__ import annotations

import html
import re
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page.app import TEMPLATES as PAGE
from orchestrator.state_store._page.app import application
from orchestrator.state_store._report import write
from orchestrator.state_store._report.rendering import TEMPLATES as REPORT
from orchestrator.state_store._report.rendering import weblink

from tests.browsing import HOSTILE, KEY, PREFIX, Client, is_plain
from tests.helpers import make_item

TEMPLATES = [file.read_text(encoding="utf-8") for folder in (PAGE, REPORT) for file in folder.glob("*.html")]
TAGS = {tag for text in TEMPLATES for tag in re.findall(r"<([a-z][a-z0-9]*)", text)}
ODD = ("/run?id=odd", "/run?id=odd&order=best", "/compare?after=odd&before=odd", "/plot?type=odd", "/item?id=many")
NO_LINKS = [
    *("javascript:alert(1)", "JAVASCRIPT:alert(1)", "java\nscript:alert(1)", "vbscript:x", "data:text/html,x"),
    *(" https://a.example", "//a.example", "ftp://a.example", "https:/a", "https://", "http://[", "file:///etc/passwd"),
    *("https://a\u202e.example", 5, None),
]


def assert_tame(text: str) -> None:
    """Check that a page has no other elements, attributes and addresses than those of our own templates."""
    assert is_plain(text)
    assert {tag.lower() for tag in re.findall(r"<([a-zA-Z][a-zA-Z0-9]*)", text)} <= TAGS
    # What looks like a script or a handler inside of a tag.
    for tag in re.findall(r"<[a-zA-Z][^>]*>", text):
        unquoted = re.sub(r'"[^"]*"', "", tag)
        assert not re.search(r"\bon\w+=|style=", unquoted), tag
        for address in re.findall(r'(?:href|src|action)="([^"]*)"', tag):
            assert re.match(r"([a-z]+(\.[a-z]+)?(\?|$)|#|https?://(?!/))", html.unescape(address)), tag
    assert text.count("<script") <= 1


@pytest.mark.parametrize("name", HOSTILE)
def test_each_view_shows_hostile_text_as_text(hostile_client: Client, name: str) -> None:
    identity = quote(f"{HOSTILE[name][:200]}|{name}")
    views = ["/runs", f"/run?id={identity}", f"/item?id={identity}", f"/compare?after={identity}&before={identity}"]
    views += [f"/plot?{urlencode({'type': HOSTILE[name][:200]})}", f"/search?{urlencode({'q': HOSTILE[name][:2000]})}"]
    for view in views:
        answer = hostile_client(view)
        assert answer.status_code == 200, (view, answer.text)
        assert_tame(answer.text)
        assert len(answer.content) < 400_000, view
        twin = re.sub(r"^/(\w+)", r"/\1.json", view)
        assert hostile_client(twin).status_code == 200, twin


def test_hostile_parameters_are_refused_as_text(client: Client) -> None:
    names = {
        "runs": ("status", "type", "since", "cursor"),
        "run": ("id", "order", "by", "decision", "cursor"),
        "item": ("id",),
        "compare": ("before", "after"),
        "plot": ("type", "path", "runs"),
        "search": ("q", "cursor"),
    }
    for view, each in names.items():
        for name in each:
            for text in HOSTILE.values():
                answer = client(f"/{view}?{urlencode({'id': 'daily-0', 'after': 'daily-1', name: text[:500]})}")
                assert answer.status_code in (200, 400, 404), (view, name, text)
                assert_tame(answer.text)


@pytest.mark.parametrize("number", range(10))
def test_json_of_any_shape_is_shown(hostile_client: Client, number: int) -> None:
    for view in ("item", "item.json"):
        answer = hostile_client(f"/{view}?id=odd-{number}")
        assert answer.status_code == 200, answer.text
        assert is_plain(answer.text)


def test_a_run_of_odd_documents_is_shown(hostile_client: Client) -> None:
    for view in ODD:
        answer = hostile_client(view)
        assert answer.status_code == 200, answer.text
        assert_tame(answer.text)
    assert "199,800 more values left out" in hostile_client("/item?id=many").text


@pytest.mark.parametrize("text", NO_LINKS)
def test_only_web_addresses_become_links(text: object) -> None:
    assert weblink(text) is None


def test_web_addresses_become_links() -> None:
    assert weblink("https://example.org/a?b=c#d") == "https://example.org/a?b=c#d"
    assert weblink("HTTP://example.org") == "HTTP://example.org"


def test_the_largest_scores_are_drawn(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_items_batch(
            make_item(f"item-{total}", scores_json={"total": total}) for total in (1.7e308, -1.7e308, 5e-324)
        )
        client = Client(application(store, "state.db", PREFIX, KEY))
        for view in ("/run?id=run-1", "/run?id=run-1&order=best", "/item?id=item-1.7e%2B308"):
            assert client(view).status_code == 200, view
        file = BytesIO()
        write(store, "run-1", file)
    assert "3 items, mean" in file.getvalue().decode()
