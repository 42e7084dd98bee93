"""What the tests of page and report share: stores to look at, a client without a socket, a real browser."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from orchestrator.state_store import StateStore
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.helpers import TIMEOUT, make_item, plain_sqlite

KEY = "the-key"
PREFIX = "/the-folder/"
BASE = "http://127.0.0.1:8000"
COOKIE = {"cookie": f"orchestrator-state-8000={KEY}"}

HOSTILE = {
    "script": "<script>window.pwned = 1; document.title = 'pwned'</script>",
    "attribute": '"\'><img src=x onerror="window.pwned = 1">',
    "svg": "<svg onload=window.pwned=1><style>*{display:none}</style></svg>",
    "template": "{{ 7 * 7 }}{% raw %}${7 * 7}",
    "javascript": "javascript:window.pwned=1",
    "data": "data:text/html,<script>window.pwned=1</script>",
    "bidi": "safe \u202e txet \u2066 end",
    "escape": "red \x1b[31m bell \x07 line\r\nnext",
    "nul": "a\x00b",
    "long": "A" * 1_000_000,
    "id": "../../?a=1&b=#c%2F;<>\"' ",
    "dots": "..",
    "breaks": "</style></title></textarea>--></svg><b>bold</b>",
}
"""Texts that act on whoever shows them carelessly."""


def fill(store: StateStore) -> None:
    """Write three runs: one completed, one failed, one that runs, with items of each decision."""
    for number, status in enumerate(("completed", "failed", None)):
        run_id = f"daily-{number}"
        store.start_run(run_id, "daily", {"limit": 10 * number, "sources": ["osv", "rss"], "model": {"name": "m"}})
        decisions = ("promote", "monitor", "block", None, "escalate")
        store.upsert_intel_items_batch(
            make_item(
                f"{run_id}/{each:02}",
                run_id,
                title=f"Title {each} of the outage",
                summary="A summary of it. " * 5,
                claims_json=[{"text": "a claim", "confidence": 0.5}, "plain claim"],
                evidence_json=[{"url": "https://example.org/e", "quote": "quoted words"}, "https://example.org/f"],
                scores_json={"total": (each * 17 + number) % 101, "novelty": each / 60},
                risk_flags_json=["unverified", "single_source"][: each % 3],
                explainability_json={"rule": "by points", "deductions": {"no_fix": 20}},
                decision=decisions[(each + number * (each == 7)) % 5],
                decision_reason="two sources",
            )
            for each in range(60)
        )
        store.write_telemetry(run_id, {"seconds": 1.5 + number, "tokens": {"in": 1000 * number}, "errors": []})
        if status:
            store.finish_run(run_id, status, "OSError: connection refused" if status == "failed" else None)


def fill_hostile(store: StateStore) -> None:
    """Write a run of each hostile text, which is in every place that takes one, and items of hostile JSON."""
    for name, text in HOSTILE.items():
        run_id = f"{text[:200]}|{name}"
        store.start_run(run_id, f"{text[:200]}", {text: text, "nested": {text: [text, 1]}})
        store.upsert_intel_item(hostile_item(f"{text[:200]}|{name}", run_id, text))
        store.write_telemetry(run_id, {text: 1.5, "list": [{"text": text}], "n": float("nan"), "i": float("inf")})
        store.finish_run(run_id, f"{text[:500]}", text)
    store.start_run("odd", "odd", ["settings", "are", "a list"])
    store.write_telemetry("odd", [1, [2, [3]], {"a": "\ud800"}])
    deep: Any = "bottom"
    for _ in range(400):
        deep = {"d": [deep]}
    for number, value in enumerate(([], "text", 5, None, True, [3, 4], {"a": {"b": 1}}, 10**400, "\udc00", deep)):
        fields = ("claims_json", "evidence_json", "scores_json", "risk_flags_json", "explainability_json")
        store.upsert_intel_item(make_item(f"odd-{number}", "odd", **dict.fromkeys(fields, value)))
    many = {f"key-{number}": number for number in range(200_000)}
    store.upsert_intel_item(make_item("many", "odd", scores_json=many, claims_json=many, evidence_json=[many]))
    store.finish_run("odd", "completed")


def hostile_item(item_id: str, run_id: str, text: str) -> dict[str, Any]:
    """Return an item with a text in every place."""
    return make_item(
        item_id,
        run_id,
        item_type=text[:300],
        title=text,
        summary=text,
        decision=text[:300],
        decision_reason=text,
        claims_json=[text, {"text": text}, {text: text}],
        evidence_json=[text, {"url": text}, {"href": text, "title": text}, {text: "https://example.org/"}],
        scores_json={text: 5, "total": 7},
        risk_flags_json=[text, {text: text}],
        explainability_json={text: {text: text}},
    )


def make_silent(path: Path, run_id: str) -> None:
    """Have a run of a store that is not open here seem to have been silent for an hour."""
    then = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    plain_sqlite(path, ("UPDATE runs SET started_at = ?, heartbeat_at = ? WHERE run_id = ?", [then, then, run_id]))


class Client:
    """Asks an app, as a browser that has the key does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(
        self,
        path: str,
        method: str = "GET",
        *,
        headers: dict[str, str] | None = None,
        prefix: str = PREFIX,
        **options: Any,
    ) -> httpx.Response:
        """Return the answer to one request below the prefix; `headers` replace the cookie."""
        path = prefix + path.removeprefix("/")

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                return await client.request(method, path, headers=COOKIE if headers is None else headers, **options)

        return asyncio.run(ask())


class Browser:
    """A headless Chromium."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def look(self, width: int = 1280, *, dark: bool = False, height: int = 900) -> None:
        """Set the width of the window, and the scheme that its user prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def faults(self) -> list[str]:
        """Return what is wrong with the page: messages on the console, sideways scrolling, a script that ran."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        # Chromium asks for it once a host, where it shows what names no icon, as JSON; outside the path that is 403.
        found = [message for message in said if "/favicon.ico" not in message]
        width, seen = self.run("return [document.documentElement.scrollWidth, innerWidth]")
        if width > seen:
            found.append(f"{width} pixels wide in {seen}")
        if self.run("return window.pwned !== undefined || document.title === 'pwned'"):
            found.append("a stored script has run")
        return found

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of what a selector finds and a reader sees."""
        visible = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
        texts: list[str] = self.run(f"{visible}.map(e => e.innerText)", selector)
        return texts


@pytest.fixture(scope="session")
def browser(tool: Callable[[str], str]) -> Iterator[Browser]:
    """Open a browser, if the machine has one."""
    opened = Browser(tool("chromium"), tool("chromedriver"))
    try:
        yield opened
    finally:
        opened.driver.quit()


@contextmanager
def page(location: str | Path, *, decide: bool = False) -> Iterator[str]:
    """Serve a store in a process of its own; the address has the key in it."""
    program = "import sys; from orchestrator.state_store._page import serve; serve(sys.argv[1], open_browser=False"
    program += ", decide=True)" if decide else ")"
    with subprocess.Popen([sys.executable, "-c", program, str(location)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), address
            yield address
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def is_plain(text: str) -> bool:
    """Return whether no character of a text acts on a screen but by being seen."""
    return not any(ord(character) < 32 and character not in "\n\t" for character in text) and not any(
        character in text for character in "\x7f\u202e\u2066\u200b\ud800"
    )


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a store with three runs, the last of them silent."""
    path = tmp_path_factory.mktemp("look") / "state.db"
    with StateStore(path) as store:
        fill(store)
    make_silent(path, "daily-2")
    return path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a store full of what acts on careless readers."""
    path = tmp_path_factory.mktemp("hostile") / "state.db"
    with StateStore(path) as store:
        fill_hostile(store)
    return path
