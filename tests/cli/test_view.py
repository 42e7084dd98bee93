"""What the command line, the page and the report share: safe text, times, spans, scores, and signs of life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from orchestrator.state_store import RunRecord
from orchestrator.state_store._cli.options import a_condition
from orchestrator.state_store._view.runs import is_silent, last_sign_of_life, seconds_taken
from orchestrator.state_store._view.scores import flags, number, scores, top, total
from orchestrator.state_store._view.text import UNSAFE, cut, leaves, shown, size, visible
from orchestrator.state_store._view.times import ago, clock, full, full_text, moment, span

NOW = datetime(2026, 11, 26, 3, 30, tzinfo=UTC)


def run(**fields: Any) -> RunRecord:
    started = (NOW - timedelta(hours=1)).isoformat()
    return RunRecord(**{"run_id": "r", "run_type": "t", "started_at": started, "status": "running",
                        "settings_snapshot_json": {}, **fields})  # fmt: skip


class TestText:
    def test_what_acts_is_escaped_and_the_rest_stays(self) -> None:
        assert visible("\x00\x1b\x7f\x9b\u202e\u2066\ufeff\u200b\ud800\U000e0041") == (
            r"\x00\x1b\x7f\x9b\u202e\u2066\ufeff\u200b\ud800\U000e0041"
        )
        kept = "é 漢字 прогноз 👩\u200d🚀 \u0645\u06cc\u200c\u062e \\x1b"
        assert visible(kept) == kept
        assert visible("a\nb\tc\r", lines=True) == "a\nb\tc\\r"

    def test_every_control_and_direction_is_among_it(self) -> None:
        import unicodedata

        acting = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")]
        acting += [chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
        assert [each for each in acting if not UNSAFE.fullmatch(each)] == []

    @pytest.mark.parametrize(
        ("value", "text"),
        [(1, "1"), (10**30, "1" + "0" * 30), (True, "true"), (None, "null"), ("x\n", "x\\n"), ([], "[]"), ({}, "{}"),
         ([1, "a", False], "1, a, false"), ([None], "[null]"), (float("nan"), "NaN")],
        ids=str,
    )  # fmt: skip
    def test_values_read_as_json_not_as_python(self, value: Any, text: str) -> None:
        assert shown(value) == text

    def test_what_is_large_is_cut(self) -> None:
        assert len(shown("x" * 1_000_000)) == len(shown(["x"] * 1_000_000)) == 1000
        assert cut("abc", 3) == "abc"
        assert cut("abcd", 3) == "ab…"
        assert "too large" in shown(10**5000)

    def test_leaves_have_the_paths_of_where(self) -> None:
        document = {"a": [{"b": 1}, [2]], 'c."d"': {"": 3}, "e": [], "f": {}}
        assert dict(leaves(document)) == {
            "a[0].b": 1, "a[1]": [2], '"c.\\"d\\"".""': 3, "e": [], "f": {}
        }  # fmt: skip
        assert list(leaves(5)) == [("", 5)]

    def test_leaves_of_what_is_deep(self) -> None:
        deep: Any = 1
        for _ in range(10_000):
            deep = [deep, {}]
        assert len(list(leaves(deep))) == 10_001

    def test_sizes(self) -> None:
        assert [size(each) for each in (0, 999, 1000, 999_499, 999_999, 10**9, 10**15)] == [
            "0 B", "999 B", "1 kB", "999 kB", "1 MB", "1 GB", "1,000,000 GB"
        ]  # fmt: skip


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            *(("90s", 90), ("10m", 600), ("10min", 600), ("1h30m", 5400), ("7d", 604800)),
            *(("2w", 1209600), ("0.5h", 1800), ("250ms", 0.25), ("1h 5m", 3900)),
        ],
    )
    def test_spans(self, text: str, seconds: float) -> None:
        assert span(text).total_seconds() == seconds

    @pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 parsecs", "7d ago", "1e9d", "9" * 400 + "d", "\uff17d"])
    def test_what_is_no_span(self, text: str) -> None:
        with pytest.raises(ValueError, match="time span"):
            span(text)

    def test_a_clock_time_is_beside_each_age(self) -> None:
        assert full(NOW - timedelta(minutes=19), NOW).endswith(", 19 min ago")
        assert full_text("yesterday\x1b", NOW) == "yesterday\\x1b", "of another program"
        assert full_text(None, NOW) == "-"
        assert ago(-90) == "in 1 min", "of a clock that is ahead"

    def test_clock_times_are_as_short_as_they_can_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert clock(NOW - timedelta(minutes=19), NOW) == "03:11:00"
        assert clock(NOW - timedelta(days=1), NOW) == "11-25 03:30"
        assert clock(NOW - timedelta(days=400), NOW) == "2025-10-22"

    def test_odd_times(self) -> None:
        assert moment("2026-11-26T04:30:00+01:00") == NOW
        assert moment("2026-11-26 03:30") == NOW, "without an offset it is UTC"
        assert [moment(each) for each in (None, "", "soon", "0001-01-01T00:00+14:00")] == [None] * 4


class TestSignsOfLife:
    def test_the_latest_counts(self) -> None:
        beat = (NOW - timedelta(minutes=5)).isoformat()
        assert last_sign_of_life(run(heartbeat_at=beat)) == NOW - timedelta(minutes=5)
        assert last_sign_of_life(run(started_at="soon")) is None

    def test_silent_is_what_runs_without_a_sign(self) -> None:
        ten = timedelta(minutes=10)
        beat = (NOW - timedelta(minutes=5)).isoformat()
        assert is_silent(run(), ten, NOW)
        assert not is_silent(run(heartbeat_at=beat), ten, NOW)
        assert not is_silent(run(status="completed"), ten, NOW)
        assert is_silent(run(started_at="soon"), ten, NOW), "nobody knows better"

    def test_how_long_it_took(self) -> None:
        assert seconds_taken(run(), NOW) == 3600
        assert seconds_taken(run(status="failed", finished_at=NOW.isoformat()), NOW) == 3600
        assert seconds_taken(run(status="failed"), NOW) is None


class TestScores:
    def test_whatever_they_hold(self) -> None:
        odd = {"total": float("nan"), "huge": 10**400, "yes": True, "text": "8", "parts": {"fit": 0.5}, "list": [1]}
        assert scores(odd) == {"parts.fit": 0.5}
        assert scores([{"a": 1}]) == {"[0].a": 1}
        others: list[Any] = [None, "x", 5, []]
        assert [scores(each) for each in others] == [{}, {}, {"": 5}, {}]
        assert len(scores({str(n): n for n in range(1000)})) == 200

    def test_the_one_that_stands_for_all(self) -> None:
        assert total({"total": 80, "fit": 1}) == 80
        assert total({"fit": 0.5}) == 0.5
        assert [
            total(each) for each in ({"a": 1, "b": 2}, {"total": "x", "a": 1, "b": 2}, {"total": float("inf")})
        ] == [None] * 3

    def test_each_has_a_scale_of_its_own(self) -> None:
        assert [top([each]) for each in (0.3, 1, 7, 80, 100, 101, -5)] == [1, 1, 10, 100, 100, 1000, 10]
        assert top([]) == 1

    def test_numbers(self) -> None:
        assert [number(each) for each in (0, 80.0, 0.1234, 12345.678, 10**20)] == [
            "0",
            "80",
            "0.123",
            "12,346",
            "1e+20",
        ]

    def test_flags_are_texts(self) -> None:
        assert flags(["a", 1, {"b": "\x1b"}]) == ["a", "1", '{"b": "\\u001b"}']
        assert flags("one") == ["one"]
        none: list[Any] = [[], {}, None, ""]
        assert [flags(each) for each in none] == [[]] * 4


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("scores_json.total >= 80", ("scores_json.total", ">=", 80)),
        ("scores_json.total<=80.5", ("scores_json.total", "<=", 80.5)),
        ("  a  !=  null  ", ("a", "!=", None)),
        ('a = "80"', ("a", "=", "80")),
        ("a = eighty = 80", ("a", "=", "eighty = 80")),
        ('a = ""', ("a", "=", "")),
        ("a ~ what?", ("a", "contains", "what?")),
        ('a."b>=c" = 1', ('a."b>=c"', "=", 1)),
        ('a."x\\"=y" < 2', ('a."x\\"=y"', "<", 2)),
        ("a?", ("a", "exists", True)),
        ("!a?", ("a", "exists", False)),
        ("a = {", ("a", "=", "{")),
        ("a = line\nline", ("a", "=", "line\nline")),
    ],
)
def test_conditions(text: str, condition: tuple[str, str, Any]) -> None:
    assert a_condition(text) == condition
