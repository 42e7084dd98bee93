"""Schemas that compute for ever: refused by name and as they are, or ended by Ctrl-C and by close."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.state_store import CorruptDatabaseError, ForeignDatabaseError, InvalidValueError, StateStore

from tests.helpers import assert_sound, folder_bytes, in_process, item_ids, make_item, plain_sqlite
from tests.programs import endless

SECONDS = 2.0
"""Within how long a call ends, on a machine that does much else; it takes some 0.1 s."""

COUNT = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n {}) SELECT count(*) FROM n)"
FOR_EVER = COUNT.format("")
WRITABLE, READABLE = "PRAGMA writable_schema = ON", "PRAGMA writable_schema = OFF"


def with_change(table: str, old: str, new: str) -> list[str]:
    """Return what changes the definition of a table as nobody could by other means."""
    new = new.replace("'", "''")
    sql = f"UPDATE sqlite_schema SET sql = replace(sql, '{old}', '{new}') WHERE name = '{table}'"
    return [WRITABLE, sql, READABLE]


def check(expression: str) -> list[str]:
    return with_change("runs", "notes TEXT", f"notes TEXT CHECK ({expression})")


def index(name: str, table: str, expression: str) -> list[str]:
    """Return what makes an index without computing it for the rows that are there."""
    return [f"CREATE INDEX {name} ON {table}(length(run_id))", *with_change(name, "length(run_id)", expression)]


def chain(length: int) -> list[str]:
    """Return columns of which each is computed from the one before, twice."""
    columns = [f"g{n} AS (g{n - 1} + g{n - 1})" for n in range(1, length)]
    return with_change("runs", "notes TEXT", ", ".join(["notes TEXT, g0 AS (length(notes))", *columns]))


BOMBS = " OR ".join(f"length(replace(hex(zeroblob({50_000_000 + n})), '0', '11')) < 0" for n in range(60))

REFUSED = {
    "view for store_identity": (
        ["DROP TABLE store_identity", f"CREATE VIEW store_identity AS SELECT {FOR_EVER} AS store_id"],
        "view store_identity",
    ),
    "CHECK that takes long": (
        check(" AND ".join(f"length(replace(hex(zeroblob({50_000_000 + n})), '0', '11')) > 0" for n in range(60))),
        'table "runs".*zeroblob',
    ),
    "CHECK that takes memory": (check("length(hex(zeroblob(400000000))) > 0"), 'table "runs".*zeroblob'),
    "CHECK of a width": (check("length(printf('%999999999d', 1)) > 0"), 'table "runs".*printf'),
    "CHECK of a width that is an argument": (check("length(printf('%.*c', 999999999, 'x')) > 0"), "runs.*printf"),
    "CHECK that multiplies": (
        check(f"length({'replace(' * 3}run_id{(', ' + repr('a') + ', ' + repr('a' * 99) + ')') * 3}) > 0"),
        'table "runs".*long texts',
    ),
    "CHECK that looks for a column in a column": (check("notes LIKE '%' || run_type"), 'table "runs".*like'),
    "CHECK that looks for a column's letters": (check("trim(notes, run_type) <> 'x'"), 'table "runs".*trim'),
    "CHECK that leaves out a column's letters": (check("unhex(notes, run_type) <> 'x'"), 'table "runs".*unhex'),
    "CHECK that looks for a long text": (check(f"notes NOT LIKE '%{'a' * 2_000}b'"), 'table "runs".*like'),
    "CHECK that looks for a text that is made": (check(f"instr(notes, '{'a' * 999}' || '{'b' * 99}')"), "runs.*instr"),
    "CHECK that replaces a long text": (check(f"replace(notes, '{'a' * 2_000}', '') <> 'x'"), 'table "runs".*replace'),
    "CHECK that is longer than any": (check(f"notes <> '{'x' * 70_000}'"), 'table "runs".*longer'),
    "CHECK with a function of another program": (check("mine(notes)"), 'table "runs".*mine'),
    "DEFAULT": (
        ["ALTER TABLE runs ADD COLUMN own", *with_change("runs", "own", "own DEFAULT (zeroblob(9e8))")],
        "runs",
    ),
    "generated column of ours": (
        with_change("runs", "heartbeat_at TEXT", "heartbeat_at TEXT GENERATED ALWAYS AS (hex(zeroblob(3e8))) VIRTUAL"),
        "column runs.heartbeat_at is generated",
    ),
    "generated column": (["ALTER TABLE runs ADD COLUMN own AS (hex(zeroblob(300000000)))"], 'table "runs".*zeroblob'),
    "generated columns of one another": (chain(40), 'table "runs".*more than 20000 steps'),
    "index": (index("evil", "intel_items", "||".join(["hex(zeroblob(10000000))"] * 40)), 'index "evil".*zeroblob'),
    "index on few rows": (["CREATE INDEX evil ON intel_items(run_id) WHERE length(zeroblob(9000)) < 0"], "evil"),
    "index by the name of ours": (
        ["DROP INDEX idx_runs_status", *index("idx_runs_status", "runs", "hex(zeroblob(300000000))")],
        'index "idx_runs_status".*zeroblob',
    ),
    "table that a foreign key's action writes": (
        [
            f"CREATE TABLE labels(item_id REFERENCES intel_items ON DELETE SET NULL, CHECK ({BOMBS}))",
            "CREATE TABLE marks(item_id REFERENCES intel_items)",
        ],
        'table "labels".*zeroblob',
    ),
    "index at the end of a chain": (
        [
            "CREATE TABLE labels(item_id TEXT PRIMARY KEY REFERENCES intel_items ON DELETE CASCADE)",
            "CREATE TABLE Votes(label REFERENCES Labels ON DELETE CASCADE, mine CHECK (mine <> lower('x')))",
            "CREATE INDEX evil ON votes(zeroblob(900000000))",
        ],
        'index "evil".*zeroblob',
    ),
    "trigger that a foreign key's action runs": (
        [
            "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE CASCADE)",
            f"CREATE TRIGGER harm AFTER DELETE ON labels BEGIN SELECT {FOR_EVER}; END",
        ],
        'trigger "harm" on "labels"',
    ),
    "trigger": ([f"CREATE TRIGGER harm AFTER INSERT ON runs BEGIN SELECT {FOR_EVER}; END"], 'trigger "harm"'),
}


@pytest.fixture
def good(run_path: Path) -> Path:
    with StateStore(run_path) as store:
        store.upsert_intel_item(make_item("a"))
        store.write_telemetry("run-1", {"n": 1})
    return run_path


@pytest.mark.parametrize("kind", REFUSED)
def test_schema_that_computes_for_ever_is_refused_by_name_and_as_it_is(good: Path, kind: str) -> None:
    """Ten of them opened, and the first call hung where Ctrl-C was not seen, or took gigabytes."""
    statements, name = REFUSED[kind]
    plain_sqlite(good, *statements)
    before = folder_bytes(good.parent)
    with pytest.raises(ForeignDatabaseError, match=name) as refused:
        StateStore(good)
    assert "it was left as it is" in str(refused.value)
    assert folder_bytes(good.parent) == before


FORGED = {
    "table of an index": ("CREATE INDEX evil ON runs(length(run_id))", "tbl_name = 'labels'"),
    "name of an index": ("CREATE INDEX evil ON runs(length(run_id))", "name = 'good'"),
    "kind of an index": ("CREATE INDEX evil ON runs(length(run_id))", "type = 'view'"),
    "table of a trigger": ("CREATE TRIGGER evil AFTER INSERT ON runs BEGIN SELECT 1; END", "tbl_name = 'labels'"),
    "name of a table": (check("length(notes) > 0")[1], "name = 'good', tbl_name = 'good'"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_schema_that_says_another_name_than_its_definition_is_damaged(good: Path, kind: str) -> None:
    """What is compared is found by its name."""
    made, forged = FORGED[kind]
    of = "runs" if kind == "name of a table" else "evil"
    plain_sqlite(good, WRITABLE, made, f"UPDATE sqlite_schema SET {forged} WHERE name = '{of}'")
    before = folder_bytes(good.parent)
    with pytest.raises(CorruptDatabaseError, match="malformed database schema"):
        StateStore(good)
    assert folder_bytes(good.parent) == before


MEANWHILE = {
    "trigger": ["CREATE TRIGGER harm AFTER INSERT ON intel_items BEGIN DELETE FROM telemetry; END"],
    "index": ["CREATE INDEX harm ON intel_items(quote(quote(quote(quote(hex(hex(hex(hex(hex(hex(title)))))))))))"],
    "generated column": ["ALTER TABLE intel_items ADD COLUMN harm AS (instr(title, summary))"],
}
DROPPED = {
    "trigger": "DROP TRIGGER harm",
    "index": "DROP INDEX harm",
    "generated column": "ALTER TABLE intel_items DROP COLUMN harm",
}


@pytest.mark.parametrize("way", ["call", "batch", "transaction"])
@pytest.mark.parametrize("kind", MEANWHILE)
def test_what_another_program_makes_meanwhile_is_refused_by_the_next_write(good: Path, kind: str, way: str) -> None:
    """A trigger that was made while the store was open ran."""

    def write(store: StateStore, name: str) -> None:
        if way == "call":
            store.upsert_intel_item(make_item(name))
        elif way == "batch":
            store.upsert_intel_items_batch([make_item(name)] * 600)
        else:
            with store.transaction():
                store.connection.execute("SELECT 1")
                store.upsert_intel_item(make_item(name))

    with StateStore(good) as store:
        write(store, "b")
        plain_sqlite(good, *MEANWHILE[kind])
        for _ in range(2):
            with pytest.raises(ForeignDatabaseError, match=r"harm|intel_items") as refused:
                write(store, "c")
            assert str(refused.value).endswith("nothing was written")
        assert item_ids(store) == ["a", "b"]
        assert store.get_telemetry("run-1") == {"n": 1}
        plain_sqlite(good, DROPPED[kind], "CREATE TABLE own(x)")
        write(store, "c")
        assert item_ids(store) == ["a", "b", "c"]
        assert_sound(store)


EXTENDED = {
    "checks": (
        "ALTER TABLE intel_items ADD COLUMN own INTEGER DEFAULT 3 CHECK (own BETWEEN 1 AND 5)",
        *check(
            "notes IS NULL OR length(trim(notes)) < 1000 AND notes NOT LIKE '%<script%' AND instr(notes, char(0)) = 0"
            " AND trim(notes, char(9) || ' ') <> '' AND ltrim(rtrim(notes), '-') NOT GLOB 7 AND unhex(notes, '-')"
        ),
    ),
    "checks of JSON": with_change(
        "intel_items", "scores_json TEXT NOT NULL", "scores_json TEXT NOT NULL CHECK (json_valid(scores_json))"
    ),
    "a check of names": check(
        "status IN ('running', 'completed', 'failed') AND run_id GLOB '*' AND coalesce(notes, '') <> 'x'"
    ),
    "generated columns": (
        "ALTER TABLE intel_items ADD COLUMN total AS (json_extract(scores_json, '$.total'))",
        "ALTER TABLE intel_items ADD COLUMN grade AS (CASE WHEN total >= 80 THEN 'a' ELSE 'b' END)",
        "ALTER TABLE intel_items ADD COLUMN slug AS (lower(replace(replace(title, ' ', '-'), '&', '&amp;')))",
        "ALTER TABLE intel_items ADD COLUMN day AS (date(created_at)) VIRTUAL",
        "CREATE INDEX own_total ON intel_items(total, grade)",
        "CREATE INDEX own_arrow ON intel_items(scores_json ->> 'total', printf('%05d', total)) WHERE decision IS NULL",
    ),
    "ids that are made": with_change(
        "runs",
        "notes TEXT",
        "notes TEXT, own TEXT DEFAULT (lower(hex(randomblob(16)))), at TEXT DEFAULT CURRENT_TIMESTAMP",
    ),
    "NOCASE": with_change("intel_items", "title TEXT NOT NULL", "title TEXT NOT NULL COLLATE NOCASE"),
    "STRICT": [
        WRITABLE,
        "UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name IN ('runs', 'intel_items', 'telemetry')",
        READABLE,
    ],
    "cascades": with_change(
        "intel_items", "REFERENCES runs(run_id)", "REFERENCES runs(run_id) ON UPDATE CASCADE ON DELETE CASCADE"
    ),
    "an index that is another than ours": (
        "DROP INDEX idx_intel_items_run_id",
        "CREATE INDEX idx_intel_items_run_id ON intel_items(run_id)",
    ),
    "views": (
        "CREATE VIEW latest AS SELECT * FROM intel_items ORDER BY created_at DESC",
        f"CREATE VIEW endless AS SELECT {FOR_EVER}",
        "CREATE TABLE log(text)",
        "CREATE TRIGGER own INSTEAD OF INSERT ON endless BEGIN INSERT INTO log VALUES ('x'); END",
    ),
    "full text search": (
        "CREATE VIRTUAL TABLE found USING fts5(title, summary, content='intel_items', content_rowid='rowid')",
        "INSERT INTO found(found) VALUES ('rebuild')",
    ),
    "tables with triggers of their own": (
        f"CREATE TABLE labels(item_id TEXT REFERENCES intel_items, label, CHECK ({BOMBS}))",
        "CREATE TABLE log(label)",
        f"CREATE TRIGGER own AFTER DELETE ON labels BEGIN INSERT INTO log SELECT {FOR_EVER} FROM intel_items; END",
    ),
    "tables with functions of another program": (
        "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE CASCADE, label DEFAULT (upper('x')))",
        *with_change(
            "labels",
            "label DEFAULT",
            "label COLLATE mine CHECK (is_slug(label) AND is_mine(label, 1)) CHECK (label NOT LIKE 'x%') DEFAULT",
        ),
    ),
}


@pytest.mark.parametrize("kind", EXTENDED)
def test_extension_that_is_cheap_stays(good: Path, kind: str) -> None:
    """All these opened before schemas were compared."""
    plain_sqlite(good, *EXTENDED[kind])
    with StateStore(good) as store:
        store.start_run("run-2", "daily", {})
        store.upsert_intel_item(make_item("b", "run-2", title="A & B", scores_json={"total": 90}))
        store.upsert_intel_items_batch([make_item("c", "run-2"), make_item("d", "run-2")])
        store.decide("b", "promote")
        store.write_telemetry("run-2", {"n": 2})
        assert item_ids(store) == ["a"]
        assert item_ids(store, "run-2") == ["b", "c", "d"]
        assert store.get_run("run-2") is not None
        store.delete_run("run-1", force=True)
        store.finish_run("run-2", "completed")
        assert store.prune(keep_last=0).runs == 1
        assert store.check() == []
        assert_sound(store)


SHAPES = {
    "UTF-16": ["PRAGMA encoding = 'UTF-16'"],
    "pages of 512 bytes": ["PRAGMA page_size = 512"],
    "pages of 65536 bytes": ["PRAGMA page_size = 65536"],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_file_of_another_shape_stays_and_is_judged_all_the_same(good: Path, tmp_path: Path, shape: str) -> None:
    dumped = plain_sqlite(good, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC")
    path = tmp_path / "shape.db"
    plain_sqlite(path, *SHAPES[shape], *(sql for [sql] in dumped), "INSERT INTO store_identity VALUES ('00')")
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        store.upsert_intel_item(make_item("é"))
        assert item_ids(store) == ["é"]
        assert store.check() == []
    plain_sqlite(path, *REFUSED["CHECK that takes memory"][0])
    with pytest.raises(ForeignDatabaseError, match="zeroblob"):
        StateStore(path)


LABELS = [
    "CREATE TABLE labels(item_id TEXT REFERENCES intel_items ON DELETE CASCADE)",
    "INSERT INTO labels VALUES ('a')",
    "UPDATE runs SET status = 'completed', finished_at = started_at",
]
TRIGGER = f"CREATE TRIGGER own AFTER DELETE ON labels BEGIN SELECT {FOR_EVER}; END"
"""Made while the store is open."""


@pytest.mark.parametrize("act", endless.ACTS)
def test_ctrl_c_ends_what_a_foreign_key_does_for_ever(good: Path, act: str) -> None:
    """Only SIGKILL did."""
    plain_sqlite(good, *LABELS)
    outcome = in_process(endless.interrupt, str(good), act, TRIGGER)
    assert outcome["seconds"] < SECONDS
    assert outcome["same"]
    plain_sqlite(good, "DROP TRIGGER own")
    with StateStore(good) as store:
        assert item_ids(store) == ["a"]
        assert_sound(store)


def many(good: Path, labels: int) -> None:
    """Have the deletion of a run take long: for each of its items it reads all of a table that has no index."""
    with StateStore(good) as store:
        store.upsert_intel_items_batch(make_item(f"{number}") for number in range(1500))
        store.start_run("run-2", "daily", {})
        store.upsert_intel_item(make_item("kept", "run-2"))
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT 'kept' FROM n"
    plain_sqlite(good, *LABELS, (f"INSERT INTO labels {rows}", [labels]))


@pytest.mark.parametrize("act", ["delete_run", "prune"])
def test_ctrl_c_ends_what_only_takes_long(good: Path, act: str) -> None:
    """A cascade to a table without an index is nobody's attack."""
    many(good, 100_000)
    outcome = in_process(endless.interrupt, str(good), act, "")
    assert outcome["seconds"] < SECONDS
    with StateStore(good) as store:
        assert len(item_ids(store)) == 1501
        assert_sound(store)


VIEW = """DROP TABLE intel_items;;CREATE VIEW intel_items AS SELECT 'a' AS item_id, 'run-1' AS run_id,
    'n' AS item_type, 't' AS title, 's' AS summary, '[]' AS claims_json, '[]' AS evidence_json, '{}' AS scores_json,
    '[]' AS risk_flags_json, '{}' AS explainability_json, NULL AS decision, NULL AS decision_reason,
    '2024-01-01' AS created_at, NULL AS updated_at, 1 AS rowid
    FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n) WHERE i < 0"""


@pytest.mark.parametrize("act", endless.READS)
def test_ctrl_c_ends_a_read_for_ever(good: Path, act: str) -> None:
    """It is of a view that took the place of a table while the store was open."""
    assert in_process(endless.interrupt, str(good), act, VIEW)["seconds"] < SECONDS


@pytest.mark.parametrize("act", ["delete_run", "prune", "delete_intel_item"])
def test_close_ends_what_a_foreign_key_does_for_ever(good: Path, act: str) -> None:
    """It waited for ever itself."""
    plain_sqlite(good, *LABELS)
    assert in_process(endless.close_meanwhile, str(good), act, TRIGGER) < SECONDS
    plain_sqlite(good, "DROP TRIGGER own")
    with StateStore(good) as store:
        assert item_ids(store) == ["a"]


@pytest.mark.parametrize("act", ["count_intel_items", "list_intel_items", "get_intel_item"])
def test_close_ends_a_read_for_ever(good: Path, act: str) -> None:
    """It waited for `busy_timeout`, and the read went on."""
    assert in_process(endless.close_meanwhile, str(good), act, VIEW) < SECONDS


def test_handler_that_does_not_raise_runs_once_and_ends_no_call_that_is_only_long(good: Path) -> None:
    many(good, 2500)
    outcome = in_process(endless.handled_by_others, str(good), "")
    assert (outcome["outcome"], outcome["handled"], outcome["runs"]) == ("deleted", 1, 1)


def test_call_that_goes_on_for_ever_ends_whatever_the_handler_does(good: Path) -> None:
    plain_sqlite(good, *LABELS)
    outcome = in_process(endless.handled_by_others, str(good), TRIGGER)
    assert outcome["outcome"].startswith('delete_run "run-1": interrupted')
    assert (outcome["handled"], outcome["runs"]) == (1, 1)
    assert outcome["seconds"] < 2 + SECONDS


def test_value_longer_than_a_step_may_build_is_a_value_error(good: Path) -> None:
    with StateStore(good) as store:
        with pytest.raises(InvalidValueError, match="too big"):
            store.upsert_intel_item(make_item("b", summary="s" * (257 << 20)))
        store.upsert_intel_item(make_item("b", summary="s" * 1000))
        assert item_ids(store) == ["a", "b"]
