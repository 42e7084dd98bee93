"""The report is one file that needs nothing else, says what it leaves out, and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from pathlib import Path

import pytest
from orchestrator.state_store import RunNotFoundError, StateStore
from orchestrator.state_store._report import write
from orchestrator.state_store._report.writing import _quotas

from tests.browsing import HOSTILE, Browser, is_plain
from tests.helpers import make_item


def report(store: StateStore, run_id: str, items: int = 1000) -> str:
    file = io.BytesIO()
    write(store, run_id, file, items=items)
    return file.getvalue().decode()


def words(text: str) -> str:
    body = re.sub(r"<(head|svg)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture
def text(filled: Path) -> str:
    with StateStore(filled, read_only=True) as store:
        return report(store, "daily-1")


def test_it_sums_the_run_up(text: str) -> None:
    seen = words(text)
    assert "daily-1 Status failed Type daily Started 20" in seen
    assert "Notes OSError: connection refused" in seen
    assert "seconds 2.5 tokens.in 1,000 errors empty" in seen
    assert "limit 10 sources osv, rss model.name m" in seen
    assert "undecided 13 21.7 %" in seen
    assert "all 60 promote 12 monitor 12" in seen
    assert "60 items; of each decision those with the highest total first." in seen
    assert "Why: two sources https://example.org/e quoted words" in seen
    assert "total 0 to 100, novelty 0 to 1." in seen
    assert " ago" not in seen, "ages pass, and the file is kept"


def test_it_has_no_script_and_the_hash_of_its_one_style(text: str) -> None:
    [policy] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    [sheet] = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    allowed = {f"'sha256-{digest}'", "'none'"}
    directives = dict(each.split(maxsplit=1) for each in html.unescape(policy).split("; "))
    assert directives.keys() == {"default-src", "style-src", "base-uri", "form-action"}
    assert set(directives.values()) == allowed
    assert directives["style-src"] != "'none'"
    assert not re.search(r"<(script|link|img|iframe|object)|\bstyle=|url\(|@import", text)


def test_it_is_sorted_by_decision_and_the_best_first(text: str) -> None:
    groups = re.findall(r'<section class="g\d+">(.*?)</section>', text, flags=re.DOTALL)
    assert [words(group).split()[0] for group in groups] == ["promote", "monitor", "block", "escalate", "undecided"]
    for group in groups:
        totals = [int(each) for each in re.findall(r'<p class="small">total .*?<b>(\d+)', group)]
        assert totals == sorted(totals, reverse=True)
        assert len(totals) >= 11


def test_the_limit_is_shared_out_and_said(filled: Path) -> None:
    with StateStore(filled, read_only=True) as store:
        text = report(store, "daily-0", items=22)
        none = report(store, "daily-0", items=0)
    assert text.count("<article") == 22
    assert "22 of 60 items are in this file, shared out among the decisions" in words(text)
    assert "4 of 12" in words(text)
    assert none.count("<article") == 0
    assert "0 of 60 items" in words(none)


@pytest.mark.parametrize(
    ("counts", "most", "quotas"),
    [([5, 5], 20, [5, 5]), ([100, 2, 100], 12, [5, 2, 5]), ([3, 3, 3], 4, [1, 1, 2]), ([9], 0, [0]), ([], 5, [])],
)
def test_shares(counts: list[int], most: int, quotas: list[int]) -> None:
    assert _quotas(counts, most) == quotas


def test_a_run_that_is_not_there_writes_nothing(filled: Path) -> None:
    file = io.BytesIO()
    with StateStore(filled, read_only=True) as store, pytest.raises(RunNotFoundError, match="no run"):
        write(store, "none", file)
    assert file.getvalue() == b""


def test_a_run_without_items_is_reported(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", None)
        seen = words(report(store, "run-1"))
    assert "The run has no items." in seen
    assert "The run has no telemetry." in seen
    assert "The run has no settings." in seen


def test_a_distribution_has_each_number_once(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        totals = [0, 0, 4.9, 5, 50, 99.9, 100]
        store.upsert_intel_items_batch(
            make_item(f"{place}", scores_json={"total": total}) for place, total in enumerate(totals)
        )
        text = report(store, "run-1")
    bins = re.findall(r"<title>([\d.]+) and more: (\d) items?</title>", text)
    assert bins == [("0", "3"), ("5", "1"), ("50", "1"), ("95", "2")]
    assert "7 items, mean 37.1" in words(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_text(hostile: Path, name: str) -> None:
    with StateStore(hostile, read_only=True) as store:
        text = report(store, f"{HOSTILE[name][:200]}|{name}")
    assert is_plain(text)
    assert not re.search(r"<(script|img|b>bold)|<[^>]*\bon\w+=", re.sub(r'"[^"]*"', '""', text))
    assert text.count("<style>") == text.count("<title>") - text.count("</title></rect>") == 1


def test_odd_documents_are_reported(hostile: Path) -> None:
    with StateStore(hostile, read_only=True) as store:
        text = report(store, "odd")
    assert is_plain(text)
    assert text.count("<article") == 11


def open_report(browser: Browser, folder: Path, text: str) -> None:
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    browser.driver.get(file.as_uri())


def test_a_browser_shows_it_and_filters(browser: Browser, tmp_path: Path, text: str) -> None:
    for width in (400, 720, 721, 1280, 1600):
        for dark in (False, True):
            browser.look(width, dark=dark)
            open_report(browser, tmp_path, text)
            assert browser.faults() == [], (width, dark)
    assert len(browser.texts("article")) == 60
    for place, (decision, number) in enumerate(
        [("promote", 12), ("monitor", 12), ("block", 11), ("escalate", 12), ("undecided", 13)], 1
    ):
        browser.run("document.querySelectorAll('fieldset label')[arguments[0]].click()", place)
        assert len(browser.texts("article")) == number
        [heading] = browser.texts("h2.group")
        assert heading.startswith(decision)
    browser.run("document.querySelector('fieldset label').click()")
    assert len(browser.texts("article")) == 60


def test_its_chart_has_colours_in_light_and_dark(browser: Browser, tmp_path: Path, text: str) -> None:
    for dark, expected in ((False, "rgb(26, 117, 53)"), (True, "rgb(111, 206, 139)")):
        browser.look(dark=dark)
        open_report(browser, tmp_path, text)
        assert browser.run("return getComputedStyle(document.querySelector('.bins .d-up')).fill") == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_stored_text_does_not_run(browser: Browser, hostile: Path, tmp_path: Path, name: str) -> None:
    with StateStore(hostile, read_only=True) as store:
        text = report(store, f"{HOSTILE[name][:200]}|{name}")
    browser.look(400)
    open_report(browser, tmp_path, text)
    assert browser.faults() == []
    assert browser.run("return document.querySelectorAll('script, img, iframe, main style').length") == 0
