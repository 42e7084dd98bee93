"""The routes: each view is a URL, has a `.json` twin, and shows the same values in both."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestrator.state_store import (
    IntelItemNotFoundError,
    InvalidTypeError,
    InvalidValueError,
    RunNotFoundError,
    StateStore,
    StateStoreError,
    StoreBusyError,
    unreadable,
)
from orchestrator.state_store._page import comparing, deciding, items, plotting, runs, searching
from orchestrator.state_store._page.asking import Answer, Asked, address, changed, known
from orchestrator.state_store._page.guard import Guard
from orchestrator.state_store._report.rendering import environment, style
from orchestrator.state_store._view import times
from orchestrator.state_store._view.runs import ABSENT
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

TEMPLATES = Path(__file__).parent / "templates"

_ENVIRONMENT = environment(TEMPLATES)
_ENVIRONMENT.tests["absent"] = lambda value: value is ABSENT
_ENVIRONMENT.filters["delta"] = comparing.delta

View = Callable[[StateStore, Asked], Answer]
VIEWS: dict[str, View] = {
    "runs": runs.list_of_runs,
    "run": runs.one_run,
    "item": items.one_item,
    "compare": comparing.compare,
    "plot": plotting.plot,
    "search": searching.search,
}
_DEPTH = 2
"""How many slashes the path of a page has: from elsewhere its links would lead nowhere."""

_STATUSES = {
    RunNotFoundError: 404,
    IntelItemNotFoundError: 404,
    InvalidValueError: 400,
    InvalidTypeError: 400,
    StoreBusyError: 503,
}


def application(store: StateStore, name: str, prefix: str, key: str, *, decide: bool = False) -> Guard:
    """Return the site of a store, whose name is shown on each page; its paths begin with `prefix`, `/.../`.

    Links are relative, so that nothing but the cookie has to know the prefix: all pages are in one folder.
    """
    site = _Site(store, name, secrets.token_urlsafe(24) if decide else None)
    routes = [
        Route("/", _to_runs),
        Route("/style.css", _file(style(), "text/css")),
        Route("/refresh.js", _file((TEMPLATES / "refresh.js").read_text(encoding="utf-8"), "text/javascript")),
        Route("/icon.svg", _file((TEMPLATES / "icon.svg").read_text(encoding="utf-8"), "image/svg+xml")),
    ]
    for each, view in VIEWS.items():
        routes += [Route(f"/{each}", site.page(each, view)), Route(f"/{each}.json", site.twin(each, view))]
    if decide:
        routes.append(Route("/decide", site.decide, methods=["POST"]))
    app = Starlette(routes=[Mount(prefix, routes=routes)], exception_handlers={HTTPException: site.failed})
    return Guard(app, prefix, key, writes=f"{prefix}decide" if decide else None)


async def _to_runs(_: Request) -> Response:
    return RedirectResponse("runs", 307)


def _file(text: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(text, media_type=kind)

    return answer


class _Site:
    """What answers: a store is asked in a thread, templates are rendered there too."""

    def __init__(self, store: StateStore, name: str, token: str | None) -> None:
        self._store = store
        self._name = name
        self._token = token

    def page(self, name: str, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers with a view's page."""

        def answer(query: Asked) -> Response:
            try:
                asked = known(name, query)
                with unreadable.shown() as odd:
                    found = view(self._store, asked)
                return self._html(name, asked, {**found.data, **found.more, "odd": odd})
            except Exception as error:
                return self._failure(_message(error), _status(error))

        async def handle(request: Request) -> Response:
            return await run_in_threadpool(answer, request.query_params)

        return handle

    def twin(self, name: str, view: View) -> Callable[[Request], Awaitable[Response]]:
        """Return what answers with the values of a view."""

        def answer(query: Asked) -> Response:
            try:
                with unreadable.shown() as odd:
                    data = view(self._store, known(name, query)).data
                return _json(data | {"unreadable": {"number": odd.number, "first": odd.first}} if odd else data)
            except Exception as error:
                return _json({"error": _message(error)}, _status(error))

        async def handle(request: Request) -> Response:
            return await run_in_threadpool(answer, request.query_params)

        return handle

    async def decide(self, request: Request) -> Response:
        """Change a decision."""
        form = await deciding.form_of(request, self._token)

        def answer() -> Response:
            try:
                return RedirectResponse(address("item", id=deciding.decide(self._store, form)), 303)
            except HTTPException:
                raise
            except Exception as error:
                return self._failure(_message(error), _status(error))

        return await run_in_threadpool(answer)

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer what went wrong outside of a view: no such page, a form that is refused."""
        assert isinstance(error, HTTPException)
        is_page = request.url.path.count("/") == _DEPTH
        if request.url.path.endswith(".json") or request.method == "HEAD" or not is_page:
            return _json({"error": error.detail}, error.status_code)
        return await run_in_threadpool(self._failure, error.detail, error.status_code)

    def _failure(self, message: str, status: int) -> Response:
        return self._html("error", Asked(), {"message": message, "status": status, "odd": None}, status)

    def _html(self, view: str, asked: Asked, values: dict[str, Any], status: int = 200) -> Response:
        def here(**changes: str | None) -> str:
            return changed(view, asked, changes)

        text = _ENVIRONMENT.get_template(f"{view}.html").render(
            **values,
            now=times.now(),
            kept=False,
            name=self._name,
            view=view,
            asked=asked,
            here=here,
            address=address,
            twin=changed(f"{view}.json", asked, {"cursor": asked.get("cursor")}),
            token=self._token,
            choices=lambda run_id: items.choices(self._store, run_id),
            exact=deciding.exact,
        )
        return Response(text.encode("utf-8", "backslashreplace"), status, media_type="text/html")


def _message(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "RecursionError: a document is nested too deeply"
    return str(error) if isinstance(error, StateStoreError) else f"{type(error).__name__}: {error}"


def _status(error: Exception) -> int:
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)


def _json(values: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(values, default=_plain)
    return PlainTextResponse(f"{text}\n", status, media_type="application/json")


def _plain(value: Any) -> str:
    """Return a time as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value).__name__}")
