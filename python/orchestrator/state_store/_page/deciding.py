"""Changing a decision: only by a form of this site, and only the decision that the form has shown."""

from __future__ import annotations

import json
import secrets
from urllib.parse import parse_qsl

from orchestrator.state_store import IntelItemNotFoundError, StateStore
from orchestrator.state_store._page.guard import is_from_here
from orchestrator.state_store.excerpts import excerpt
from starlette.exceptions import HTTPException
from starlette.requests import Request

PATH = "/decide"
_MOST_BYTES = 1 << 20


def seen(decision: str | None, reason: str | None) -> str:
    """Return what a form carries of the decision that it shows."""
    return json.dumps([decision, reason])


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
    if not {"id", "decision", "seen"} <= form.keys():
        raise HTTPException(400, "the form lacks id, decision or seen")
    return form


def decide(store: StateStore, form: dict[str, str]) -> str:
    """Set the decision of an item as the form says, unless it was changed meanwhile; return the item's id."""
    item_id = form["id"]
    with store.transaction():
        item = store.get_intel_item(item_id)
        if item is None:
            raise IntelItemNotFoundError(f"there is no item {excerpt(item_id)}")
        if seen(item["decision"], item["decision_reason"]) != form["seen"]:
            message = f"{excerpt(item_id)} was decided by someone else meanwhile; nothing was changed: look at it again"
            raise HTTPException(409, message)
        store.decide(item_id, form["decision"] or None, form.get("reason", "").strip() or None)
    return item_id
