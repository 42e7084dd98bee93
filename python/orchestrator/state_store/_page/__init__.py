"""A small site to look at a store, on this machine alone: starlette, uvicorn and jinja2, in a process of its own."""

from __future__ import annotations

from orchestrator.state_store._page.serving import serve

__all__ = ["serve"]
