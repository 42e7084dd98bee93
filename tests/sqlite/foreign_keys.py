"""Tables of a user's own that refer to a store's: what makes them, and what becomes of a run that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from orchestrator.state_store import InvalidValueError, StateStore

from tests.helpers import make_item

RUNS = 50
HELD = "r25"
"""The run that a row refers to, or whose first item, `r25-0`, or telemetry it refers to."""
LARGE = 1500
"""More items than are deleted in one transaction where no row refers to their run."""


@dataclass(frozen=True)
class Kind:
    """Tables of a user's own."""

    schema: tuple[str, ...]
    """What makes them, and a row that refers; the one that forbids to delete it is made last but one."""
    by: str = ""
    """What the error names; nothing where the run goes."""
    rows: str = ""
    """What is asked of the user's tables afterwards."""
    left: tuple[Any, ...] = ()
    """The answer."""
    told: bool = True
    """Whether a dry run can tell."""


def kind(by: str, schema: str, row: str, rows: str = "", *left: Any, told: bool = True) -> Kind:
    return Kind((*filter(None, (each.strip() for each in schema.split(";"))), row), by, rows, left, told)


ITEM = "INSERT INTO labels VALUES ('r25-0', 'good')"
RUN = "INSERT INTO reports VALUES ('r25', 'url')"
COUNT_LABELS = "SELECT item_id, label FROM labels"
COUNT_REPORTS = "SELECT run_id, url FROM reports"
KEPT_ITEM, KEPT_RUN = ("r25-0", "good"), ("r25", "url")

KINDS = {
    "an item": kind(
        "labels(item_id) refers to intel_items",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items(item_id), label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "a run": kind(
        "reports(run_id) refers to runs",
        "CREATE TABLE reports(run_id TEXT REFERENCES runs(run_id), url)",
        RUN,
        COUNT_REPORTS,
        KEPT_RUN,
    ),
    "telemetry": kind(
        "reports(run_id) refers to telemetry",
        "CREATE TABLE reports(run_id TEXT REFERENCES telemetry(run_id), url)",
        RUN,
        COUNT_REPORTS,
        KEPT_RUN,
    ),
    "a run, restrict": kind(
        "reports(run_id)",
        "CREATE TABLE reports(run_id TEXT REFERENCES runs ON DELETE RESTRICT, url)",
        RUN,
        COUNT_REPORTS,
        KEPT_RUN,
    ),
    "an item, restrict, deferred": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id REFERENCES intel_items ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "a run, deferred": kind(
        "reports(run_id)",
        "CREATE TABLE reports(run_id TEXT REFERENCES runs(run_id) DEFERRABLE INITIALLY DEFERRED, url)",
        RUN,
        COUNT_REPORTS,
        KEPT_RUN,
    ),
    "an item, deferred": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items DEFERRABLE INITIALLY DEFERRED, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "deferrable": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items DEFERRABLE, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "an item, cascade": kind(
        "",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE CASCADE, label)",
        ITEM,
        COUNT_LABELS,
    ),
    "a run, cascade": kind(
        "", "CREATE TABLE reports(run_id TEXT REFERENCES runs ON DELETE CASCADE, url)", RUN, COUNT_REPORTS
    ),
    "an item, set null": kind(
        "",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE SET NULL, label)",
        ITEM,
        COUNT_LABELS,
        (None, "good"),
    ),
    "a run, set null": kind(
        "",
        "CREATE TABLE reports(run_id TEXT REFERENCES runs ON DELETE SET NULL, url)",
        RUN,
        COUNT_REPORTS,
        (None, "url"),
    ),
    "set null where null is not allowed": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id TEXT NOT NULL REFERENCES intel_items ON DELETE SET NULL, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "set default": kind(
        "",
        "CREATE TABLE labels(item_id TEXT DEFAULT 'kept' REFERENCES intel_items ON DELETE SET DEFAULT, label)",
        ITEM,
        COUNT_LABELS,
        ("kept", "good"),
    ),
    "set default, and there is none": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id TEXT DEFAULT 'nothing' REFERENCES intel_items ON DELETE SET DEFAULT, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
        told=False,
    ),
    "set default, and it goes as well": kind(
        "labels(item_id)",
        "CREATE TABLE labels(item_id TEXT DEFAULT 'r25-1' REFERENCES intel_items ON DELETE SET DEFAULT, label)",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
        told=False,
    ),
    "two columns": kind(
        "labels(run, item)",
        """CREATE UNIQUE INDEX own ON intel_items(run_id, item_id);
        CREATE TABLE labels(run, item, FOREIGN KEY (run, item) REFERENCES intel_items(run_id, item_id))""",
        "INSERT INTO labels VALUES ('r25', 'r25-0')",
        "SELECT * FROM labels",
        ("r25", "r25-0"),
    ),
    "two columns, cascade": kind(
        "",
        """CREATE UNIQUE INDEX own ON intel_items(run_id, item_id);
        CREATE TABLE labels(run, item,
            FOREIGN KEY (run, item) REFERENCES intel_items(run_id, item_id) ON DELETE CASCADE)""",
        "INSERT INTO labels VALUES ('r25', 'r25-0')",
        "SELECT * FROM labels",
    ),
    "names in other letters, that need quotes": kind(
        'La"bels(the item)',
        'CREATE TABLE "La""bels"("the item" TEXT REFERENCES INTEL_ITEMS(Item_ID))',
        'INSERT INTO "la""BELS" VALUES (\'r25-0\')',
        'SELECT * FROM "La""bels"',
        ("r25-0",),
    ),
    "without a rowid, by an index": kind(
        "labels(item_id)",
        """CREATE TABLE labels(label TEXT PRIMARY KEY, item_id TEXT REFERENCES intel_items) WITHOUT ROWID;
        CREATE INDEX by_item ON labels(item_id)""",
        "INSERT INTO labels VALUES ('good', 'r25-0')",
        COUNT_LABELS,
        KEPT_ITEM,
    ),
    "a chain that ends": kind(
        "",
        """CREATE TABLE labels(item_id TEXT PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE, label);
        CREATE TABLE reviews(item_id TEXT REFERENCES labels ON DELETE CASCADE);
        INSERT INTO labels VALUES ('r25-0', 'good')""",
        "INSERT INTO reviews VALUES ('r25-0')",
        "SELECT item_id FROM labels UNION ALL SELECT * FROM reviews",
    ),
    "a chain that holds": kind(
        "reviews(item_id) refers to labels",
        """CREATE TABLE labels(item_id TEXT PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE, label);
        CREATE TABLE reviews(item_id TEXT REFERENCES labels);
        INSERT INTO labels VALUES ('r25-0', 'good')""",
        "INSERT INTO reviews VALUES ('r25-0')",
        "SELECT item_id FROM labels UNION ALL SELECT * FROM reviews",
        ("r25-0",),
        ("r25-0",),
    ),
    "a chain that holds at its end": kind(
        "reviews(item_id)",
        """CREATE TABLE labels(item_id TEXT PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE, label);
        CREATE TABLE reviews(item_id TEXT REFERENCES labels DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO labels VALUES ('r25-0', 'good')""",
        "INSERT INTO reviews VALUES ('r25-0')",
        "SELECT item_id FROM labels UNION ALL SELECT * FROM reviews",
        ("r25-0",),
        ("r25-0",),
    ),
    "tables that refer to themselves": kind(
        "",
        """CREATE TABLE labels(id INTEGER PRIMARY KEY, up INTEGER REFERENCES labels ON DELETE CASCADE,
            item_id TEXT REFERENCES intel_items ON DELETE CASCADE);
        INSERT INTO labels VALUES (1, 1, 'r25-0')""",
        "INSERT INTO labels VALUES (2, 1, NULL)",
        "SELECT * FROM labels",
    ),
    "tables that refer to one another": kind(
        "",
        """CREATE TABLE labels(item_id TEXT PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE,
            other TEXT REFERENCES reviews ON DELETE CASCADE);
        CREATE TABLE reviews(item_id TEXT PRIMARY KEY REFERENCES labels ON DELETE CASCADE);
        INSERT INTO labels VALUES ('r25-0', NULL);
        INSERT INTO reviews VALUES ('r25-0')""",
        "UPDATE labels SET other = 'r25-0'",
        "SELECT item_id FROM labels UNION ALL SELECT * FROM reviews",
    ),
    "a row that refers to the item and the run": kind(
        "notes(item_id) refers to intel_items",
        """CREATE TABLE notes(run_id TEXT REFERENCES runs ON DELETE CASCADE, item_id TEXT REFERENCES intel_items)""",
        "INSERT INTO notes VALUES ('r25', 'r25-0')",
        "SELECT * FROM notes",
        ("r25", "r25-0"),
    ),
    "what the table itself checks": kind(
        "labels(item_id)",
        """CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE SET NULL, label,
            CHECK (item_id IS NOT NULL))""",
        ITEM,
        COUNT_LABELS,
        KEPT_ITEM,
        told=False,
    ),
    "a row that is not changed, for it refers to nothing of ours": kind(
        "",
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items, label)",
        "INSERT INTO labels VALUES (NULL, 'good')",
        COUNT_LABELS,
        (None, "good"),
    ),
}

HOLDING = ["an item", "a run", "a run, deferred", "an item, deferred", "a chain that holds", "telemetry"]


def record(store: StateStore, run_id: str, items: int = 2, status: str | None = "completed") -> None:
    """Record a run; one without a status goes on running."""
    store.start_run(run_id, "daily", {})
    store.upsert_intel_items_batch(make_item(f"{run_id}-{index}", run_id) for index in range(items))
    store.write_telemetry(run_id, {})
    if status:
        store.finish_run(run_id, status)


def run_ids(store: StateStore) -> list[str]:
    return [run.run_id for run in store.list_runs()]


def failure(call: Callable[[], object]) -> str:
    """Return what an error says that names who refers."""
    with pytest.raises(InvalidValueError) as caught:
        call()
    assert type(caught.value) is InvalidValueError
    return str(caught.value)
