"""Tables of the user's own that refer to runs which a prune of an earlier version has hidden, and to their items."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from orchestrator.state_store import (
    Deleted,
    RunNotFoundError,
    StateStore,
)

from tests.helpers import assert_sound, everything, item_ids, make_item, plain_sqlite, table
from tests.sqlite.foreign_keys import HELD, HOLDING, KINDS, RUNS, failure, run_ids


def hide(path: Path, *statements: str) -> None:
    """Do what a prune of an earlier version did: it hid the runs, and then found that it could not delete one."""
    plain_sqlite(path, "UPDATE runs SET pruned_at = '2026-01-01T00:00:00+00:00' WHERE run_id <> 'today'", *statements)


@pytest.mark.parametrize("name", HOLDING)
def test_a_run_that_was_hidden_before_is_reported_and_goes_once_it_can(runs_path: Path, name: str) -> None:
    """Some of it may be gone, and nobody can tell: half a run must not be read, so that it stays hidden."""
    plain_sqlite(runs_path, *KINDS[name].schema)
    hide(runs_path, f"DELETE FROM intel_items WHERE item_id = '{HELD}-1'")
    with StateStore(runs_path) as store:
        [finding] = store.check()
        assert (finding.kind, finding.table, finding.id) == ("held_run", "runs", HELD)
        assert KINDS[name].by in finding.message
        assert store.prune(keep_last=0, dry_run=True) == Deleted(RUNS - 1, 2 * RUNS - 2, RUNS - 1)
        for _ in range(2):
            error = failure(partial(store.prune, keep_last=0))
            assert f'1 of the runs, which stay hidden, as an earlier prune had begun with them: run "{HELD}"' in error
            assert KINDS[name].by in error
            assert run_ids(store) == ["today"]
            assert [row[0] for row in table(store, "runs")] == [HELD, "today"]
            assert [row[0] for row in table(store, "intel_items")] == [f"{HELD}-0", "kept"]
            assert store.check() == [finding]
        before = everything(store)
        error = failure(partial(store.start_run, HELD, "daily", {}))
        assert error.startswith(f'start_run "{HELD}": ')
        assert KINDS[name].by in error
        assert everything(store) == before
        with pytest.raises(RunNotFoundError):
            store.delete_run(HELD)
    rows = "reviews" if "chain" in name else "labels" if "item" in name else "reports"
    plain_sqlite(runs_path, f"DELETE FROM {rows}")
    with StateStore(runs_path) as store:
        assert store.check() == []
        store.start_run(HELD, "daily", {})
        assert item_ids(store, HELD) == []
        assert store.prune(keep_last=0) == Deleted(0, 0, 0)
        assert_sound(store)


def test_what_follows_a_run_that_was_hidden_before_does_not_keep_it(runs_path: Path) -> None:
    plain_sqlite(runs_path, *KINDS["an item, cascade"].schema)
    hide(runs_path)
    with StateStore(runs_path) as store:
        assert store.check() == []
        store.start_run(HELD, "daily", {})
        assert store.prune(keep_last=0).runs == RUNS - 1
        assert table(store, "labels") == []


@pytest.mark.parametrize("name", ["an item", "an item, deferred", "an item, cascade", "a chain that holds", "a run"])
@pytest.mark.parametrize("many", [False, True], ids=["alone", "in a batch"])
def test_an_item_of_a_hidden_run_that_is_referred_to_can_come_again(runs_path: Path, name: str, many: bool) -> None:
    """The whole feed used to be refused, as the item was deleted to be recorded anew."""
    plain_sqlite(runs_path, *KINDS[name].schema)
    hide(runs_path)
    with StateStore(runs_path) as store:
        rows = store.connection.execute(KINDS[name].rows).fetchall()
        new = make_item(f"{HELD}-0", "today", item_type="other", title="again", decision="keep", claims_json=[1])
        if many:
            store.upsert_intel_items_batch([make_item("a", "today"), new, make_item("b", "today")])
        else:
            for each in (make_item("a", "today"), new, make_item("b", "today")):
                store.upsert_intel_item(each)
        assert item_ids(store, "today") == ["kept", "a", f"{HELD}-0", "b"]
        item = store.get_intel_item(f"{HELD}-0")
        assert item is not None
        assert {key: item[key] for key in new} == new  # type: ignore[literal-required]
        others = store.get_intel_item("a")
        assert others is not None
        assert item["created_at"] >= others["created_at"], "it was recorded with them, and not before"
        seen = store.connection.execute("SELECT updated_at FROM intel_items WHERE item_id = ?", [f"{HELD}-0"])
        assert [tuple(row) for row in seen] == [(None,)], "it is new, and did not come again"
        assert store.connection.execute(KINDS[name].rows).fetchall() == rows
        if name == "a run":
            failure(partial(store.prune, keep_last=0))
        else:
            assert store.prune(keep_last=0).runs == RUNS
        assert item_ids(store, "today") == ["kept", "a", f"{HELD}-0", "b"]
        assert store.connection.execute(KINDS[name].rows).fetchall() == rows
        assert_sound(store)


@pytest.mark.parametrize("action", ["", "DEFERRABLE INITIALLY DEFERRED", "ON UPDATE CASCADE"])
def test_a_row_that_also_refers_to_the_run_of_an_item_says_what_becomes_of_it(runs_path: Path, action: str) -> None:
    plain_sqlite(
        runs_path,
        "CREATE UNIQUE INDEX own ON intel_items(run_id, item_id)",
        f"CREATE TABLE labels(r, i, FOREIGN KEY (r, i) REFERENCES intel_items(run_id, item_id) {action})",
        "INSERT INTO labels VALUES ('r25', 'r25-0')",
    )
    hide(runs_path)
    with StateStore(runs_path) as store:
        before = everything(store)
        again = partial(store.upsert_intel_item, make_item("r25-0", "today"))
        if "UPDATE" in action:
            again()
            assert item_ids(store, "today") == ["kept", "r25-0"]
            assert table(store, "labels") == [("today", "r25-0")]
        else:
            assert 'upsert_intel_item "r25-0": FOREIGN KEY constraint failed' in failure(again)
            assert everything(store) == before
