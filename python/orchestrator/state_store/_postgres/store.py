"""`Store`, the facade of the engine."""

from __future__ import annotations

from orchestrator.state_store._postgres.calls.adhoc import AdHoc
from orchestrator.state_store._postgres.calls.copying import Copying
from orchestrator.state_store._postgres.calls.intel_items import IntelItems
from orchestrator.state_store._postgres.calls.item_lists import ItemLists
from orchestrator.state_store._postgres.calls.run_lists import RunLists
from orchestrator.state_store._postgres.calls.runs import Runs
from orchestrator.state_store._postgres.calls.telemetry import Telemetry
from orchestrator.state_store._postgres.calls.upkeep import Upkeep


class Store(Runs, RunLists, ItemLists, IntelItems, Telemetry, Upkeep, AdHoc, Copying):
    """A store in PostgreSQL; `StateStore` documents each call."""
