"""Salvages damaged files, and compares that with what plain SQLite reads of them row by row."""

import collections
import contextlib
import faulthandler
import os
import random
import re
import sqlite3
from pathlib import Path

from orchestrator.state_store import Salvaged, StateStore, StateStoreError, salvage

from tests.fuzz import pages
from tests.programs import hear, say
from tests.programs.exits import item

HANG = 60.0
"""Seconds after which the salvage of one small file is taken to hang."""

ORDERS = 20
"""How many times SQLite is asked for a row that it reads, or not, against what a salvage says."""

KEYS = {"runs": "run_id", "intel_items": "item_id", "telemetry": "run_id"}
PAGE = 4096
DISPLACED = ["another row has its key", "its index names it, but another row is in its place"]
"""Why a row is lost whose rowid can be read."""


def write_good(path: str) -> None:
    """Write a store of some hundred pages: interior, leaf, overflow and free ones, and gaps between rowids."""
    with StateStore(path) as store:
        for run in range(30):
            run_id = f"run-{run:02}"
            store.start_run(run_id, "daily", {"limit": run})
            items = ({**item(f"{run:02}-{number:02}"), "run_id": run_id} for number in range(40))
            store.upsert_intel_items_batch({**each, "summary": "s" * (9000 if run == 3 else 200)} for each in items)
            store.write_telemetry(run_id, {"n": 60})
            store.finish_run(run_id, "completed")
        store.delete_run("run-05")
        store.delete_run("run-29")


def damage(content: bytes, random_: random.Random) -> bytes:
    """Destroy pages behind the first, or change them where it hurts."""
    changed = bytearray(content)
    for _ in range(random_.choice([1, 2, 5])):
        start = random_.randrange(1, len(content) // PAGE) * PAGE
        kind = random_.randrange(7)
        if kind == 0:
            changed[start : start + PAGE] = bytes(PAGE)
        elif kind == 1:
            changed[start : start + PAGE] = random_.randbytes(PAGE)
        elif kind == 2:
            other = random_.randrange(1, len(content) // PAGE) * PAGE
            changed[start : start + PAGE] = content[other : other + PAGE]
        elif kind == 3:
            for _ in range(20):
                changed[start + random_.randrange(PAGE)] ^= 1 << random_.randrange(8)
        elif kind == 4 and start > len(content) // 2:
            del changed[start:]
            return bytes(changed)
        elif kind == 5:
            part = changed[PAGE:]
            pages.rowid(part, random_)
            changed[PAGE:] = part
        else:
            part = changed[PAGE:]
            random_.choice([pages.page_header, pages.cell_pointer, pages.cell])(part, random_)
            changed[PAGE:] = part
    return bytes(changed)


Rows = dict[str, dict[int, object]]
"""The keys of the rows of each table, by rowid."""


def plain(path: Path, last: dict[str, int], seed: int = 0) -> tuple[Rows, dict[str, set[int]]]:
    """Return what SQLite reads of each table row by row in some order, and the rowids where it meets damage instead."""
    found: Rows = {table: {} for table in KEYS}
    damaged: dict[str, set[int]] = {table: set() for table in KEYS}
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        connection.execute("PRAGMA writable_schema = ON")
        for table, key in KEYS.items():
            for rowid in random.Random(seed).sample(range(1, last[table] + 1), last[table]):
                try:
                    row = connection.execute(f"SELECT {key}, * FROM {table} WHERE rowid = ?", (rowid,)).fetchone()
                    found[table] |= {rowid: row[0]} if row else {}
                except sqlite3.DatabaseError:
                    damaged[table].add(rowid)
    return found, damaged


def compare(good: str, folder: str, seed: int, count: int) -> dict[str, int]:
    """Salvage damaged copies of a file; return how many rows were kept, lost and mended in all, and of how many files.

    Each copy is a function of the seed and its number, and is there as long as it is used: one that hangs or kills the
    process is found in the folder.
    """
    sums: collections.Counter[str] = collections.Counter()
    content = Path(good).read_bytes()
    with contextlib.closing(sqlite3.connect(good)) as connection:
        there = {t: {row[0] for row in connection.execute(f"SELECT rowid FROM {t}")} for t in KEYS}
    last = {table: max(rowids) for table, rowids in there.items()}
    for number in range(count):
        faulthandler.dump_traceback_later(HANG, exit=True)
        path, dest = Path(folder) / f"{seed}-{number}.db", Path(folder) / "salvaged.db"
        damaged = damage(content, random.Random(f"{seed}-{number}"))
        path.write_bytes(damaged)
        readable, unreadable = plain(path, last)
        unreadable = {table: unreadable[table] & there[table] for table in KEYS}
        try:
            report = salvage(path, dest)
        except StateStoreError:
            report = None
        if report is None:
            assert not any(readable.values()), path
            sums["refused"] += 1
        else:
            try:
                sums.update(judge(path, dest, report, readable, unreadable))
            except AssertionError:
                # Past the end of a page SQLite reads memory. What a row comes to by that changes with the order.
                for order in range(1, ORDERS):
                    again, damaged_again = plain(path, last, order)
                    for table in KEYS:
                        readable[table] = dict(readable[table].items() & again[table].items())
                        unreadable[table] &= damaged_again[table]
                sums.update(judge(path, dest, report, readable, unreadable))
            dest.unlink()
        assert path.read_bytes() == damaged, "the file was written to"
        path.unlink()
        assert sorted(each.name for each in Path(folder).iterdir()) == [Path(good).name], "something was left behind"
        sums["files"] += 1
    faulthandler.cancel_dump_traceback_later()
    return dict(sums)


def judge(path: Path, dest: Path, report: Salvaged, readable: Rows, unreadable: dict[str, set[int]]) -> dict[str, int]:
    """Check what a salvage has kept, and that its report adds up."""
    with StateStore(dest, read_only=True) as store:
        assert {each.kind for each in store.check()} == set(), path
        stand_ins = [each for each in report.mended if each.table == "runs" and each.rowid is None]
        for table, key in KEYS.items():
            rows = store.connection.execute(f"SELECT rowid, CAST({key} AS BLOB) FROM {table}").fetchall()
            kept, keys = {row[0] for row in rows}, {row[1] for row in rows}
            if table == "runs":
                keys -= {str(each.id).encode() for each in stand_ins}
            extra = len(stand_ins) if table == "runs" else 0
            assert len(kept) == report.kept[table] + extra, (path, table)
            lost = [each.rowid for each in report.lost if each.table == table]
            assert len(lost) == len(set(lost)), (path, table, "a row is lost twice")
            missing = {rowid for rowid, key in readable[table].items() if key not in keys} - set(lost)
            assert not missing, (path, table, missing)
            for each in report.lost:
                elsewhere = each.column or each.why in DISPLACED
                bad = each.table == table and each.rowid in readable[table]
                assert not bad or elsewhere, (path, each)
                assert each.table != table or str(each.id).encode() not in keys or elsewhere, (path, each)
            unsaid = unreadable[table] - kept - set(lost) - ranges(report.remarks, table)
            assert not unsaid, (path, table, unsaid)
        return {"kept": sum(report.kept.values()), "lost": len(report.lost), "mended": len(report.mended)}


def ranges(remarks: list[str], table: str) -> set[int]:
    """Return the rowids that remarks tell of."""
    found: set[int] = set()
    for remark in remarks:
        if match := re.match(rf"rowids (-?\d+) to (-?\d+) of {table} ", remark):
            found |= set(range(int(match[1]), min(int(match[2]), 10_000) + 1))
    return found


def write_and_vanish(path: str) -> None:
    """Write a store, and end without closing it: what was committed is in its log alone."""
    store = StateStore(path)
    store.start_run("run-1", "daily", {})
    store.upsert_intel_items_batch(item(f"{number:02}") for number in range(10))
    print("null", flush=True)
    os._exit(0)


def write_half(path: str) -> None:
    """Change all items in rollback journal mode, spill that to the file, and wait inside the transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA cache_size = 2")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("UPDATE intel_items SET title = 'half', summary = hex(zeroblob(500))")
    say("half")
    hear()
