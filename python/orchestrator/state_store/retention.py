"""The calls of `StateStore` that delete, and that give space back."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.state_store import _core


class Retention:
    """Deleting: a mixin of `StateStore`."""

    _core: _core.Store
