"""Who may ask: what passes has the right Host, the key and a method that is served. Every answer gets the headers.

Any web page can send requests to 127.0.0.1, and any user of this machine can. The Host header tells apart a name that
was pointed here (DNS rebinding), the key everybody who was not given it.

Browsers send a cookie to all ports of a host, so to the servers of other users of this machine too, but only to paths
that begin with its own. So the site is below a path that nobody can guess, and the cookie goes there only.
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_WELCOME = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>State store</title>'
    '<meta http-equiv="refresh" content="0; url=runs"></head><body><a href="runs">Runs</a></body></html>'
)


class Guard:
    """Wraps the app, whose paths begin with `prefix`. `writes` is the one path that takes POST, if any does."""

    def __init__(self, app: ASGIApp, prefix: str, key: str, *, writes: str | None = None) -> None:
        self.app = app
        self._prefix = prefix
        self._key = key
        self._writes = writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the app do so."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await (self._refusal(Request(scope)) or self.app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that does not get to the app."""
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return PlainTextResponse("400: the page is at 127.0.0.1 and localhost only\n", 400)
        given = request.query_params.get("key")
        is_ours = request.url.path.startswith(self._prefix)
        if is_ours and given is not None and request.method in ("GET", "HEAD") and self._is_key(given):
            return self._welcome(request)
        if not is_ours or not self._is_key(_cookie(request, cookie_name(request))):
            return PlainTextResponse("403: open the address that orchestrator-state page has printed\n", 403)
        if request.method not in ("GET", "HEAD") and (request.method != "POST" or request.url.path != self._writes):
            return PlainTextResponse("405: only GET and HEAD are served here\n", 405, {"Allow": "GET, HEAD"})
        return None

    def _is_key(self, text: str) -> bool:
        return secrets.compare_digest(text.encode("utf-8", "replace"), self._key.encode())

    def _welcome(self, request: Request) -> Response:
        """Keep the key as a cookie, and lead to where it is not in the address.

        A browser that comes from elsewhere, such as the file that opened it, would not send a Strict cookie along with
        the request that a redirect leads to. So a page of ours leads it there.
        """
        elsewhere = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        response = HTMLResponse(_WELCOME) if elsewhere else RedirectResponse("runs", 303)
        response.set_cookie(cookie_name(request), self._key, path=self._prefix, httponly=True, samesite="strict")
        return response


def cookie_name(request: Request) -> str:
    """Return a name for each port: cookies do not tell ports apart."""
    return f"orchestrator-state-{(request.scope.get('server') or ('', 0))[1]}"


def _cookie(request: Request, name: str) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def is_from_here(request: Request) -> bool:
    """Return whether a browser says that a page of this site sends this form."""
    origin = request.headers.get("origin", "")
    host = request.headers.get("host", "")
    return origin == f"http://{host}" and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
