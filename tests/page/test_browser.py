"""What a real browser makes of the page: it loads, fits, runs nothing that was stored, and keeps the key."""

from __future__ import annotations

import re
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from orchestrator.state_store import StateStore
from orchestrator.state_store._page import serving

from tests.browsing import HOSTILE, Browser, page
from tests.helpers import TIMEOUT, make_item

VIEWS = ("/runs", "/run?id=daily-2", "/item?id=daily-0%2F02", "/compare?after=daily-1", "/plot", "/search?q=outage")
WIDTHS = (400, 720, 721, 1280, 1600)


@pytest.fixture(scope="module")
def site(filled: Path) -> Iterator[str]:
    with page(filled) as address:
        yield address


@pytest.fixture(scope="module")
def hostile_site(hostile: Path) -> Iterator[str]:
    with page(hostile) as address:
        yield address


def enter(browser: Browser, address: str) -> str:
    """Open the printed address; return where the site is."""
    browser.driver.get(address)
    assert "key" not in browser.driver.current_url
    return address.partition("/?")[0]


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    limit = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < limit


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_loads_and_fits(browser: Browser, site: str, view: str) -> None:
    base = enter(browser, site)
    for width in WIDTHS:
        for dark in (False, True):
            browser.look(width, dark=dark)
            browser.driver.get(base + view)
            assert browser.faults() == [], (width, dark)
            assert browser.texts("h1")


def test_the_style_applies_and_follows_the_scheme(browser: Browser, site: str) -> None:
    base = enter(browser, site)
    papers = []
    for dark in (False, True):
        browser.look(dark=dark)
        browser.driver.get(base + "/runs")
        papers.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(250, 250, 247)", "rgb(18, 19, 22)"]


def test_the_headings_of_columns_are_gone_at_400(browser: Browser, site: str) -> None:
    base = enter(browser, site)
    browser.look(400)
    browser.driver.get(base + "/runs")
    assert browser.texts("thead th") == []
    assert "daily-1" in browser.texts("tbody th")
    assert browser.run("return document.querySelector('thead').offsetHeight") == 0


def test_chips_filter_and_the_chosen_one_can_be_read(browser: Browser, site: str) -> None:
    base = enter(browser, site)
    browser.look()
    browser.driver.get(base + "/runs")
    browser.run("[...document.querySelectorAll('.chips a')].find(a => a.innerText.startsWith('failed')).click()")
    until(lambda: "status=failed" in browser.driver.current_url)
    assert browser.texts("tbody th") == ["daily-1"]
    assert "failed 1" in browser.texts(".chips [aria-current]")
    ink, paper = browser.run(
        "const chip = document.querySelector('.chips [aria-current]');"
        "return [getComputedStyle(chip.querySelector('.num')).color, getComputedStyle(chip).backgroundColor]"
    )
    assert (ink, paper) == ("rgb(250, 250, 247)", "rgb(27, 29, 33)")


def test_links_lead_from_run_to_item_and_back(browser: Browser, site: str) -> None:
    base = enter(browser, site)
    browser.look()
    browser.driver.get(base + "/run?id=daily-0&order=best&by=novelty")
    assert browser.texts("tbody th")[-40:][0] == "Title 59 of the outage"
    browser.run("document.querySelector('.list tbody a').click()")
    until(lambda: "/item" in browser.driver.current_url)
    assert browser.texts("h1") == ["Title 59 of the outage"]
    browser.run("document.querySelector('.crumb .id').click()")
    until(lambda: "/run?" in browser.driver.current_url)
    assert browser.faults() == []


def test_focus_is_seen(browser: Browser, site: str) -> None:
    base = enter(browser, site)
    browser.driver.get(base + "/runs")
    browser.driver.switch_to.active_element.send_keys("\ue004")
    style = browser.run("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.outlineWidth]")
    assert style == ["solid", "2px"]


@pytest.mark.parametrize("name", HOSTILE)
def test_stored_text_does_not_run(browser: Browser, hostile_site: str, name: str) -> None:
    base = enter(browser, hostile_site)
    browser.look(400)
    identity = quote(f"{HOSTILE[name][:200]}|{name}")
    for view in (f"run?id={identity}", f"item?id={identity}", f"compare?after={identity}&before={identity}"):
        browser.driver.get(f"{base}/{view}")
        assert browser.faults() == [], view
        assert browser.run("return document.querySelectorAll('script, img, iframe, main b b, main style').length") == 0
        addresses = browser.run("return [...document.querySelectorAll('a')].map(a => a.href)")
        assert not [each for each in addresses if not re.match(r"https?://", each)]


def test_lists_of_hostile_text_do_not_run(browser: Browser, hostile_site: str) -> None:
    base = enter(browser, hostile_site)
    for width in (400, 1280):
        browser.look(width)
        for view in ("/runs", "/search?q=%3Cscript%3E", "/plot", "/run?id=odd", "/item?id=many"):
            browser.driver.get(base + view)
            assert browser.faults() == [], (view, width)


def test_a_browser_that_is_opened_by_a_file_gets_in(
    browser: Browser, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cookie is Strict, and the request begins at a file: a redirect would lead to a page without it."""
    browser.driver.delete_all_cookies()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: thread.run())
    with serving._browser(site):
        browser.driver.get(opened[0])
        until(lambda: browser.driver.current_url.endswith("/runs"))
    assert browser.texts("h1") == ["Runs"]
    [cookie] = browser.driver.get_cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_another_port_of_this_machine_does_not_get_the_cookie(browser: Browser, site: str) -> None:
    """Cookies know no ports: another user's server would get the key, if its path were not one that nobody knows."""
    folder = urlsplit(enter(browser, site)).path
    sent: list[tuple[str, str | None]] = []

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append((self.path, self.headers["cookie"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for path in ("/", "/runs", "/x/runs", f"{folder}/runs"):
            browser.driver.get(f"http://127.0.0.1:{server.server_port}{path}")
        server.shutdown()
    cookies = {path: cookie for path, cookie in sent if path != "/favicon.ico"}
    known = cookies.pop(f"{folder}/runs")
    assert known
    assert "orchestrator-state" in known, "what the test rests on"
    assert cookies == {"/": None, "/runs": None, "/x/runs": None}


def test_a_button_decides(browser: Browser, path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("a"))
        with page(path, decide=True) as address:
            base = enter(browser, address)
            browser.look(400)
            browser.driver.get(f"{base}/item?id=a")
            browser.run("document.querySelector('input[name=reason]').value = 'two sources'")
            browser.run("document.querySelector('button[value=promote]').click()")
            until(lambda: "promote" in "".join(browser.texts(".facts")))
            assert browser.faults() == []
        item = store.get_intel_item("a")
        assert item
        assert (item["decision"], item["decision_reason"]) == ("promote", "two sources")


def test_a_page_of_a_running_run_is_read_again(browser: Browser, path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        with page(path) as address:
            base = enter(browser, address)
            browser.driver.get(f"{base}/run?id=run-1")
            assert browser.texts("h1 + .facts dd")[0] == "running"
            store.finish_run("run-1", "completed")
            until(lambda: browser.texts("h1 + .facts dd")[0] == "completed")
            assert browser.run("return document.scripts.length") == 0
