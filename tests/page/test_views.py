"""Each view shows what the store has, is a URL, and has a JSON twin; no view decodes what it does not show."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from orchestrator.state_store import Page, StateStore
from orchestrator.state_store._page.app import TEMPLATES, application
from orchestrator.state_store._page.asking import Asked
from orchestrator.state_store._page.plotting import plot
from orchestrator.state_store._page.runs import MOST_ITEMS
from orchestrator.state_store._page.searching import _after

from tests.browsing import KEY, PREFIX, Client
from tests.helpers import JSON_FIELDS, make_item


def words(text: str) -> str:
    """Return what a reader sees of a page, in one line."""
    body = re.sub(r"<(head|svg)\b.*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def links(text: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(r'href="([^"]*)"', text)]


def seen(client: Client, path: str) -> str:
    answer = client(path)
    assert answer.status_code == 200, answer.text
    return words(answer.text)


def data(client: Client, path: str) -> Any:
    answer = client(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_runs_have_clock_times_ages_durations_and_reasons(client: Client) -> None:
    text = seen(client, "/runs")
    assert "daily-1 failed daily" in text
    assert re.search(r"daily-0 completed daily (\d\d-\d\d )?\d\d:\d\d(:\d\d)? (now|\d+ s ago|\d+ min ago) \d+ ms", text)
    assert "OSError: connection refused" in text
    assert "all 3 completed 1 failed 1 running 1" in text
    assert "any time 3 last 1h" in text


def test_a_silent_run_is_marked_by_a_word_and_a_sign(client: Client) -> None:
    raw = client("/runs").text
    assert "1 run silent : still “running”" in words(raw).replace("silent:", "silent :")
    row = next(part for part in raw.split("<tr>")[2:] if "daily-2" in part)
    assert '<use href="#i-silent"/></svg>silent' in row
    assert "running" not in words(row)
    assert "no sign of life for 1 h" in seen(client, "/run?id=daily-2")


def test_runs_are_filtered_and_counted(client: Client) -> None:
    assert [run["run_id"] for run in data(client, "/runs.json?status=failed")["runs"]] == ["daily-1"]
    assert [run["run_id"] for run in data(client, "/runs.json?status=failed&status=completed")["runs"]] == [
        "daily-1",
        "daily-0",
    ]
    assert data(client, "/runs.json?type=weekly")["runs"] == []
    assert data(client, "/runs.json?since=24h")["total"] == 3
    # The silent one began an hour ago.
    assert data(client, "/runs.json?since=1h")["by_status"] == {"completed": 1, "failed": 1}
    assert "No run matches" in seen(client, "/runs?type=weekly")
    assert client("/runs?since=5y").status_code == 400
    assert client("/runs?cursor=bad").status_code == 400
    assert "cursor" in client("/runs.json?cursor=bad").json()["error"]


def test_a_run_is_summed_up(client: Client) -> None:
    text = seen(client, "/run?id=daily-1")
    assert "Notes OSError: connection refused" in text
    assert "promote 12" in text
    assert "undecided 13 21.7 %" in text
    assert "seconds 2.5 tokens.in 1,000" in text
    assert "errors empty" in text
    assert "limit 10 sources osv, rss model.name m" in text
    assert "Compare with daily-0" in text


def test_items_are_listed_newest_oldest_and_best_first(client: Client) -> None:
    def ids(query: str) -> list[str]:
        return [item["item_id"] for item in data(client, f"/run.json?id=daily-0{query}")["items"]]

    assert ids("")[:2] == ["daily-0/59", "daily-0/58"]
    assert ids("&order=oldest")[:2] == ["daily-0/00", "daily-0/01"]
    assert ids("&order=best&by=novelty")[0] == "daily-0/59"
    totals = [item["scores_json"]["total"] for item in data(client, "/run.json?id=daily-0&order=best")["items"]]
    assert totals == sorted(totals, reverse=True)
    assert ids("&decision=block")[:2] == ["daily-0/57", "daily-0/52"]
    assert ids("&undecided=1")[:2] == ["daily-0/58", "daily-0/53"]
    assert client("/run?id=daily-0&order=worst").status_code == 400
    assert client("/run?id=daily-0&order=best&by=[").status_code == 400


@pytest.mark.parametrize("order", ["", "&order=oldest", "&order=best&by=total", "&decision=promote"])
def test_next_links_lead_through_all_items(client: Client, order: str) -> None:
    found, path = [], f"/run?id=daily-0{order}"
    while path:
        text = client(path).text
        found += re.findall(r'href="item\?id=([^"]*)"', text)
        path = next((html.unescape(each) for each in re.findall(r'rel="next" href="([^"#]*)', text)), "")
    assert len(found) == len(set(found)) == (12 if "decision" in order else 60)


def test_an_item_is_shown_with_all_that_is_known(client: Client) -> None:
    raw = client("/item?id=daily-0/03").text
    text = words(raw)
    assert "undecided two sources" in text
    assert "text a claim confidence 0.5 plain claim" in text
    assert "rule by points deductions.no_fix 20" in text
    assert "total 51 0 to 100" in text
    assert "novelty 0.05 0 to 1" in text
    assert "quoted words" in text
    assert "https://example.org/e" in links(raw)
    assert "https://example.org/f" in links(raw)
    assert "['" not in text
    assert "single_source" in seen(client, "/item?id=daily-0/02")


def test_two_runs_are_compared(client: Client) -> None:
    text = seen(client, "/compare?after=daily-1&before=daily-0")
    assert "limit 0 10 +10" in text
    assert "seconds 1.5 2.5 +1, +66.7 %" in text
    assert "sources osv, rss osv, rss same" in text
    found = data(client, "/compare.json?after=daily-1")
    assert found["before"]["run_id"] == "daily-0", "without one, the last completed run of its type"
    assert [each["item_id"] for each in found["items"]["decided"]["shown"]] == ["daily-1/07"]
    assert found["settings"]["shown"][0] == {"path": "limit", "before": 0, "after": 10}
    assert client("/compare?after=daily-0").status_code == 404
    assert client("/compare?after=none").status_code == 404
    assert client("/compare").status_code == 400


def test_a_number_is_plotted_over_the_runs_of_a_type(client: Client) -> None:
    raw = client("/plot?type=daily&path=tokens.in").text
    assert raw.count("<circle") - raw.partition("</svg>")[0].count("<circle") == 3
    [points] = re.findall(r'class="line" points="([^"]*)"', raw)
    assert len(points.split()) == 3
    found = data(client, "/plot.json?type=daily&path=tokens.in")
    assert [point["value"] for point in found["points"]] == [0, 1000, 2000]
    assert found["paths"] == ["seconds", "tokens.in"]
    assert "None of these runs has the number" in seen(client, "/plot?type=daily&path=none")
    assert seen(client, "/plot?type=none")


def test_search_finds_ids_and_words(client: Client) -> None:
    found = data(client, "/search.json?q=daily-1")
    assert [run["run_id"] for run in found["runs"]] == ["daily-1"]
    assert [item["item_id"] for item in found["by_id"]][:2] == ["daily-1/00", "daily-1/01"]
    by_title = data(client, "/search.json?q=OUTAGE+59")
    assert {item["item_id"] for item in by_title["by_title"]} == {"daily-0/59", "daily-1/59", "daily-2/59"}
    assert by_title["next_cursor"] is None
    assert "Title 59 of the outage" in seen(client, "/search?q=outage+59")
    text = seen(client, "/search?q=nowhere")
    assert "All searched" in text
    assert "None so far" not in text
    assert seen(client, "/search")


def test_search_goes_on_where_it_stopped(client: Client) -> None:
    found, path = [], "/search.json?q=title"
    while True:
        answer = data(client, path)
        assert len(answer["by_title"]) <= 20
        found += [item["item_id"] for item in answer["by_title"]]
        if answer["next_cursor"] is None:
            break
        path = f"/search.json?q=title&cursor={answer['next_cursor']}"
    assert len(found) == len(set(found)) == 180


def test_the_end_of_a_prefix() -> None:
    assert _after("ab") == "ac"
    assert _after("a\U0010ffff") == "b"
    assert _after("\ud7ff") == "\ue000"
    assert _after("\U0010ffff") is None


def test_what_is_not_there_is_not_found(client: Client) -> None:
    for path in ("/run?id=none", "/run.json?id=none", "/item?id=none", "/item.json?id=none", "/none", "/none.json"):
        assert client(path).status_code == 404, path
    for path in ("/run", "/item.json"):
        assert client(path).status_code == 400, path


@pytest.mark.parametrize("name", ["..", "a/b", "a?b=c&d", "a#b", "a%2Fb", "ä 市場", " ", "a+b", '"<&>'])
def test_ids_of_any_kind_are_in_links_that_work(path: Path, name: str) -> None:
    with StateStore(path) as store:
        store.start_run(name, name, {})
        store.upsert_intel_item(make_item(f"{name}/{name}", name))
        client = Client(application(store, "state.db", PREFIX, KEY))
        [run] = [each for each in links(client("/runs").text) if each.startswith("run?")]
        [item] = [each for each in links(client(run).text) if each.startswith("item?")]
        assert data(client, item.replace("item?", "item.json?"))["item"]["run_id"] == name
        back = {each for each in links(client(item).text) if each.startswith("run?")}
        assert back == {run}


def test_each_page_names_its_twin(client: Client) -> None:
    for path in ("/runs?status=failed", "/run?id=daily-0&order=best", "/item?id=daily-0/03", "/plot", "/search?q=a"):
        [twin] = [each for each in links(client(path).text) if ".json" in each.partition("?")[0]]
        assert client(twin).status_code == 200
        assert twin.partition("?")[2].replace("%2F", "/") == path.partition("?")[2]


def test_of_a_large_document_the_first_keys_are_shown(path: Path) -> None:
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {f"key-{number}": number for number in range(1000)})
        store.upsert_intel_item(make_item("a", claims_json=list(range(1000)), summary="s" * 5000))
        client = Client(application(store, "state.db", PREFIX, KEY))
        run, item = client("/run?id=run-1").text, client("/item?id=a").text
    assert "key-199" in run
    assert "key-200" not in run
    assert "800 more values left out" in words(run)
    assert '<a href="run.json?id=run-1">all of it as JSON</a>' in run
    assert "800 more values left out" in words(item)
    assert "1,000 more characters left out" in words(item)


class Spy(StateStore):
    """A store that notes which fields of items are decoded."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.decoded: set[str] = set()

    def list_intel_items(self, **options: Any) -> Page[Any]:
        self.decoded |= set(options.get("fields") or JSON_FIELDS)
        return super().list_intel_items(**options)

    def iter_intel_items(self, **options: Any) -> Iterator[Any]:
        self.decoded |= set(options.get("fields") or JSON_FIELDS)
        return super().iter_intel_items(**options)

    def list_intel_items_for_run(self, run_id: str) -> list[Any]:
        self.decoded |= set(JSON_FIELDS)
        return super().list_intel_items_for_run(run_id)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/runs", set()),
        ("/run?id=daily-0", {"scores_json", "risk_flags_json"}),
        ("/run?id=daily-0&order=best", {"scores_json", "risk_flags_json"}),
        ("/item?id=daily-0/03", {"scores_json"}),
        ("/compare?after=daily-1", set()),
        ("/plot", set()),
        ("/search?q=title", set()),
    ],
)
def test_no_view_decodes_what_it_does_not_show(filled: Path, path: str, fields: set[str]) -> None:
    with Spy(filled, read_only=True) as store:
        assert Client(application(store, "state.db", PREFIX, KEY))(path).status_code == 200
        assert store.decoded & set(JSON_FIELDS) == fields


def test_views_are_small(client: Client) -> None:
    for path in ("/runs", "/run?id=daily-2", "/item?id=daily-0/03", "/compare?after=daily-2", "/plot", "/search?q=t"):
        assert len(client(path).content) < 40_000, path


def test_a_page_of_items_is_as_long_as_it_says(client: Client) -> None:
    assert f"{MOST_ITEMS} of 60 items" in seen(client, "/run?id=daily-0")


@pytest.mark.parametrize(
    "view", ["/runs", "/run?id=daily-0", "/item?id=daily-0/03", "/compare?after=daily-2", "/plot", "/search?q=t"]
)
def test_links_have_known_parameters_only(client: Client, view: str) -> None:
    """Each link of a view has those that it was asked with: by one that nobody knows a page would grow without end."""
    plain = client(view).text
    more = urlencode([("long-name", "x" * 5000), *((f"p{each}", "y") for each in range(300))])
    odd = client(f"{view}{'&' if '?' in view else '?'}{more}").text
    assert "xxx" not in odd
    assert "p299" not in odd
    assert abs(len(odd) - len(plain)) < 100, "but for ages"


def test_filters_are_capped(client: Client) -> None:
    statuses = urlencode([("status", f"status-{each}") for each in range(200)])
    assert client(f"/runs?{statuses}").status_code == 400
    assert "too long" in client(f"/runs.json?{statuses}").json()["error"]
    twice = client("/runs?status=failed&status=failed").text
    assert "status=failed&amp;status=failed" not in twice


def test_an_empty_store_is_shown(path: Path) -> None:
    with StateStore(path) as store:
        client = Client(application(store, "state.db", PREFIX, KEY))
        assert "No run matches" in seen(client, "/runs")
        assert plot(store, Asked("")).data["points"] == []
        store.start_run("run-1", "daily", {})
        assert "The run has no items yet" in seen(client, "/run?id=run-1")
        assert seen(client, "/plot")


def test_the_script_is_short_and_only_where_a_run_is_running(client: Client) -> None:
    assert len((TEMPLATES / "refresh.js").read_text(encoding="utf-8").splitlines()) <= 40
    assert "refresh.js" in client("/run?id=daily-2").text
    assert "<script" not in client("/run?id=daily-0").text


def test_the_json_twin_is_what_the_page_shows(client: Client) -> None:
    text = client("/run?id=daily-0&decision=block").text
    for item in data(client, "/run.json?id=daily-0&decision=block")["items"]:
        assert f'href="item?id={item["item_id"].replace("/", "%2F")}"' in text
    assert json.loads(client("/run.json?id=daily-0").content)["telemetry"]["seconds"] == 1.5


def test_scores_that_are_no_numbers_are_shown_beside_those_that_are(path: Path) -> None:
    scores = {"total": 80, "basis": "two sources", "loss": float("nan")}
    many = scores | {f"n{each}": each for each in range(210)}
    with StateStore(path) as store:
        store.start_run("run-1", "daily", {})
        documents = {"mixed": scores, "many": many, "none": {}}
        store.upsert_intel_items_batch(make_item(each, scores_json=its) for each, its in documents.items())
        client = Client(application(store, "state.db", PREFIX, KEY))
        text = seen(client, "/item?id=mixed")
        assert "basis two sources" in text
        assert "loss NaN" in text
        assert "left out" not in text
        assert "13 more values left out" in seen(client, "/item?id=many")
        assert "No scores." in seen(client, "/item?id=none")


def test_a_plot_of_many_runs_is_small(path: Path) -> None:
    with StateStore(path, synchronous="NORMAL") as store:
        for number in range(100):
            store.start_run(f"run-{number}", "daily", {})
            store.write_telemetry(f"run-{number}", {"seconds": number})
        client = Client(application(store, "state.db", PREFIX, KEY))
        raw = client("/plot?type=daily&runs=100").text
    assert len(raw) < 40_000
    assert "60 older runs left out of the table" in words(raw)
    assert raw.count("<title>run-") == 100
