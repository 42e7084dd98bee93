"""Changing a decision: only by a form of this site, and only the decision that the form has shown."""

from __future__ import annotations

import json
import secrets
from urllib.parse import parse_qsl

from orchestrator.state_store import StateStore, unreadable
from orchestrator.state_store._page.guard import is_from_here
from orchestrator.state_store._view.runs import item_of
from orchestrator.state_store.excerpts import excerpt
from starlette.exceptions import HTTPException
from starlette.requests import Request

_MOST_BYTES = 1 << 20


def exact(*texts: str | None) -> str:
    """Return texts as a form carries them: in HTML, control characters and ends of lines would not come back equal."""
    return json.dumps(texts)


async def form_of(request: Request, token: str | None) -> dict[str, str]:
    """Return the fields of a form that a page of this site has sent; anything else is refused."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "the form is too large")
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    is_ours = token is not None and secrets.compare_digest(form.get("token", "").encode(), token.encode())
    if not is_ours or not is_from_here(request):
        raise HTTPException(403, "only the forms of this page may change a decision: open the item and try again")
    if not {"item", "decision", "seen"} <= form.keys():
        raise HTTPException(400, "the form lacks item, decision or seen")
    return form


def decide(store: StateStore, form: dict[str, str]) -> str:
    """Set the decision of an item as the form says, unless it was changed meanwhile; return the item's id."""
    item_id = _item_id(form["item"])
    with store.transaction(), unreadable.shown():
        item = item_of(store, item_id)
        if exact(item["decision"], item["decision_reason"]) != form["seen"]:
            message = f"{excerpt(item_id)} was decided by someone else meanwhile; nothing was changed: look at it again"
            raise HTTPException(409, message)
        store.decide(item_id, form["decision"] or None, form.get("reason", "").strip() or None)
    return item_id


def _item_id(text: str) -> str:
    try:
        (item_id,) = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        item_id = None
    if not isinstance(item_id, str):
        raise HTTPException(400, "the form names no item")
    return item_id
