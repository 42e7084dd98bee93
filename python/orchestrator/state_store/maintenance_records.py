"""What pickles that were made before these classes were moved call their module."""

from orchestrator.state_store.records.upkeep import Checkpointed, Deleted, Finding, Stats, Vacuumed

__all__ = ["Checkpointed", "Deleted", "Finding", "Stats", "Vacuumed"]
