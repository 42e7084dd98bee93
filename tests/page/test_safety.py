"""Any web page can send requests to 127.0.0.1, and any user of the machine can: none of them gets anything."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

import httpx
import pytest
from orchestrator.state_store import CannotOpenError, StateStore
from orchestrator.state_store._page import serve, serving
from orchestrator.state_store._page.app import VIEWS, application
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.browsing import COOKIE, KEY, PREFIX, Client, page
from tests.helpers import TIMEOUT

ROUTES = [
    "/",
    "/style.css",
    "/refresh.js",
    "/icon.svg",
    "/decide",
    "/no-such-page",
    *(f"/{view}{twin}" for view in VIEWS for twin in ("", ".json")),
]
EVIL = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8000",
    "evil.example#127.0.0.1",
    "127.0.0.1:8000@evil.example",
    "127.0.0.1:80a",
    "0.0.0.0",
    "[::2]",
    "",
]
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def assert_guarded(answer: httpx.Response) -> None:
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_the_routes_here_are_all_routes(client: Client) -> None:
    app = client.app.app
    assert isinstance(app, Starlette)
    [mount] = app.routes
    assert isinstance(mount, Mount)
    assert f"{mount.path}/" == PREFIX
    assert {route.path for route in mount.routes} <= set(ROUTES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("route", ROUTES)
def test_another_host_is_refused_on_every_route(client: Client, route: str) -> None:
    for host in EVIL:
        for method in ("GET", "POST"):
            answer = client(route, method, headers={**COOKIE, "host": host})
            assert answer.status_code == 400, (host, method)
            assert_guarded(answer)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_this_machine_is_served(client: Client, host: str) -> None:
    assert client("/runs", headers={**COOKIE, "host": host}).status_code == 200


def test_two_hosts_are_refused(client: Client) -> None:
    headers = [("host", "127.0.0.1"), ("host", "evil.example"), *COOKIE.items()]
    assert client("/runs", headers=headers).status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_served_without_the_key(client: Client, route: str) -> None:
    wrong = [
        {},
        {"cookie": "orchestrator-state-8000=wrong"},
        {"cookie": f"orchestrator-state-8001={KEY}"},
        {"cookie": f"a;=;orchestrator-state-8000={KEY}x"},
        {"cookie": '[]=; "orchestrator-state-8000'},
    ]
    for headers in wrong:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            answer = client(route, method, headers=headers)
            assert answer.status_code == 403, (headers, method)
            assert_guarded(answer)
    assert client(f"{route}?key=wrong", headers={}).status_code == 403
    assert client(f"{route}?key=", headers={}).status_code == 403
    assert client(f"{route}?key={KEY}", "POST", headers={}).status_code == 403


def test_nothing_is_served_outside_of_the_prefix(client: Client) -> None:
    """It is what keeps the cookie from other ports of this machine, to which browsers send it as well."""
    for prefix in ("/", f"/x{PREFIX}", PREFIX.upper(), PREFIX[:-1]):
        answer = client("runs", prefix=prefix)
        assert answer.status_code == 403, prefix
        assert client(f"runs?key={KEY}", headers={}, prefix=prefix).status_code == 403, prefix
        assert client("runs", headers={**COOKIE, "host": "evil.example"}, prefix=prefix).status_code == 400
        assert_guarded(answer)


def test_the_key_becomes_a_cookie_and_leaves_the_address(client: Client) -> None:
    answer = client(f"/?key={KEY}", headers={})
    assert answer.status_code == 303
    assert answer.headers["location"] == "runs"
    name, *attributes = answer.headers["set-cookie"].lower().split("; ")
    assert name == f"orchestrator-state-8000={KEY}"
    assert {"httponly", "samesite=strict", f"path={PREFIX}"} == set(attributes)
    assert_guarded(answer)


def test_a_key_leads_to_no_other_site(client: Client) -> None:
    for path in ("//evil.example/", "/\\evil.example/", "/%2F%2Fevil.example"):
        assert client(f"{path}?key={KEY}", headers={}).headers["location"] == "runs"


def test_who_comes_from_a_file_is_led_on_by_a_page(client: Client) -> None:
    """After a redirect, a browser would not send the cookie: the request began elsewhere."""
    answer = client(f"/?key={KEY}", headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=runs"' in answer.text
    assert KEY not in answer.text
    assert "samesite=strict" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("route", ROUTES)
def test_only_get_and_head_are_served(client: Client, route: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        answer = client(route, method)
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == "GET, HEAD"
        assert_guarded(answer)


def test_with_decide_one_path_takes_post(filled: Path) -> None:
    with StateStore(filled, read_only=True) as store:
        client = Client(application(store, "state.db", PREFIX, KEY, decide=True))
        for route in ROUTES:
            assert client(route, "POST").status_code == (403 if route == "/decide" else 405), route
            assert client(route, "PUT").status_code == 405, route


@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_has_the_headers(client: Client, route: str) -> None:
    for method in ("GET", "HEAD"):
        assert_guarded(client(route, method))


def test_an_error_inside_has_the_headers_and_shows_no_traceback(client: Client, filled: Path) -> None:
    with StateStore(filled, read_only=True) as store:
        closed = Client(application(store, "state.db", PREFIX, KEY))
    answer = closed("/runs")
    assert answer.status_code == 500
    assert "closed" in answer.text
    assert "Traceback" not in answer.text
    assert_guarded(answer)


@pytest.mark.parametrize("view", ["runs", "runs.json"])
def test_what_nobody_thought_of_is_said_without_a_traceback(
    filled: Path, monkeypatch: pytest.MonkeyPatch, view: str
) -> None:
    """Else the terminal that serves the page gets one, and the reader no word of why."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("of a run")

    monkeypatch.setitem(VIEWS, "runs", fail)
    with StateStore(filled, read_only=True) as store:
        answer = Client(application(store, "state.db", PREFIX, KEY))(f"/{view}")
    assert answer.status_code == 500
    assert "ZeroDivisionError: of a run" in answer.text
    assert "Traceback" not in answer.text
    assert_guarded(answer)


def test_pages_have_nothing_inline(client: Client) -> None:
    for path in ("/runs", "/run?id=daily-2", "/item?id=daily-0/03", "/compare?after=daily-2", "/plot", "/search?q=a"):
        text = client(path).text
        assert "style=" not in text, path
        assert "<style" not in text, path
        assert " on" not in "".join(part.partition(">")[0] for part in text.split("<script")[1:]), path
        assert "javascript:" not in text, path


def test_the_store_is_opened_to_be_read(filled: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    for decide in (False, True):
        with pytest.raises(CannotOpenError):
            serve(missing, open_browser=False, decide=decide)
    assert not missing.exists()
    with serving._opened(filled, writing=False) as store:
        assert "read-only" in repr(store)


def test_it_listens_on_this_machine_alone_and_ends_by_ctrl_c(filled: Path) -> None:
    program = "import sys; from orchestrator.state_store._page import serve; serve(sys.argv[1], open_browser=False)"
    command = [sys.executable, "-c", program, str(filled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = httpx.URL(process.stdout.readline().strip())
        assert address.host == "127.0.0.1"
        assert address.port
        # The loopback has more addresses than this one: whoever listens on all of the machine's answers there.
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", address.port), TIMEOUT):
            pass
        assert httpx.get(address.copy_with(query=None)).status_code == 403
        assert httpx.get(address).status_code == 303
        process.send_signal(2)
        _, errors = process.communicate(timeout=TIMEOUT)
        assert "KeyboardInterrupt" in errors, "the caller learns of it"
        assert process.returncode != 0


def test_the_key_is_in_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: thread.run())
    with serving._browser("http://127.0.0.1:8000/?key=secret"):
        [uri] = opened
        assert "secret" not in uri
        file = Path(uri.removeprefix("file://"))
        assert "url=http://127.0.0.1:8000/?key=secret" in file.read_text(encoding="utf-8")
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
    assert not file.exists()


def test_a_password_is_not_shown() -> None:
    assert serving.name_of("postgresql://me:secret@db.example.org/state?sslmode=require") == "db.example.org/state"
    assert serving.name_of("postgresql:///state?user=me&password=secret") == "state"
    assert serving.name_of(Path("/var/lib/state.db")) == "state.db"


def test_a_port_that_is_taken_is_an_error(filled: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            serve(filled, port=taken.getsockname()[1], open_browser=False)


def test_the_page_is_served_by_a_real_server(filled: Path) -> None:
    with page(filled) as address, httpx.Client(follow_redirects=True) as browser:
        answer = browser.get(address)
        assert answer.url.path == httpx.URL(address).path + "runs"
        assert "daily-2" in answer.text
        assert "server" not in answer.headers
        assert browser.get(answer.url.join("runs"), headers={"host": "evil.example"}).status_code == 400
