"""The calls of `StateStore` that look after the file."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.state_store import _core


class Maintenance:
    """Looking after the file: a mixin of `StateStore`."""

    _core: _core.Store
