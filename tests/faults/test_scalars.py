"""Any text comes back from any text column, NUL included; numbers that SQLite cannot hold are refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orchestrator.state_store import InvalidValueError, StateStore

Rounds = Callable[[int, int], int]
Figure = Callable[[str], None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateStore]:
    path: Path = tmp_path_factory.mktemp("text") / "state.db"
    with StateStore(path, synchronous="NORMAL") as store:
        yield store


numbers = itertools.count()
texts = st.text(max_size=20) | st.text("\0a'\"%_\\", max_size=5)


def test_every_text_column_keeps_any_text(shared: StateStore, rounds: Rounds, figure: Figure) -> None:
    first = next(numbers)

    @settings(max_examples=rounds(300, 5000))
    @given(st.lists(texts, min_size=9, max_size=9))
    @example([""] * 9)
    @example(["\0"] * 9)
    @example(["a\0b\0"] * 9)
    @example(["😀\U0010ffff\ufffd\ufeff"] * 9)
    @example(["'; DROP TABLE runs; --", "\n\r\n", " lead ", "NULL", "1", "1.0", "x'00'", "e\u0301", "\u00e9"])
    @example(["9223372036854775808", "-9223372036854775809", "1e999", "NaN", "0x10", " 1", "1_0", "\u0661", "\u00b2"])
    @example(["x" * 100_000] * 9)
    def check(columns: list[str]) -> None:
        mark = f"{next(numbers):06}"
        run_type, status, notes, item_type, title, summary, decision, reason, name = columns
        run_id, item_id = name + mark, mark + name
        item = {
            "item_type": item_type,
            "title": title,
            "summary": summary,
            "decision": decision,
            "decision_reason": reason,
        }
        record = shared.start_run(run_id, run_type, {})
        shared.finish_run(run_id, status, notes)
        shared.upsert_intel_item({"item_id": item_id, "run_id": run_id, **item})
        shared.write_telemetry(run_id, {})

        [back] = shared.list_intel_items_for_run(run_id)
        assert {key: back.get(key) for key in item} == item
        assert (back["item_id"], back["run_id"]) == (item_id, run_id)
        rows = shared.connection.execute(
            "SELECT run_id, run_type, status, notes FROM runs JOIN telemetry USING (run_id) WHERE run_id = ?",
            (run_id,),
        ).fetchall()
        assert [tuple(row) for row in rows] == [(run_id, run_type, status, notes)]
        assert (record.run_id, record.run_type) == (run_id, run_type)

    check()
    figure(f"{next(numbers) - first - 1} rows of nine texts")


def test_parameter_comes_back_or_is_refused(shared: StateStore, rounds: Rounds, figure: Figure) -> None:
    count = itertools.count()
    bounds = st.integers(-(2**63) - 2, -(2**63) + 2) | st.integers(2**63 - 2, 2**63 + 2)

    @settings(max_examples=rounds(300, 5000))
    @given(st.none() | st.integers() | bounds | st.floats(allow_nan=False) | texts | st.binary(max_size=20))
    @example(math.inf)
    @example(-0.0)
    @example("\0")
    @example(b"\0\xff")
    def check(parameter: object) -> None:
        next(count)
        if isinstance(parameter, int) and not -(2**63) <= parameter < 2**63:
            with pytest.raises(InvalidValueError):
                shared.connection.execute("SELECT ?", (parameter,))
            return
        [(back,)] = shared.connection.execute("SELECT ?", (parameter,)).fetchall()
        assert repr(back) == repr(parameter)

    check()
    figure(f"{next(count)} parameters")
