"""A daily run: judge the installed distributions, or the advisories of a file, and say what changed since last time.

    python examples/daily_run.py                   # the distributions that this Python sees
    python examples/daily_run.py advisories.jsonl  # security advisories: JSON lines in OSV shape

The rule: a distribution starts from 100 points, an advisory from 40 and the `CVSS_POINTS` of its severity (20 where
it has none). Each risk flag takes off its weight in `WEIGHTS`. From 70 points up an item is promoted (passed on to
people), below 35 it is blocked (kept out), in between it is monitored.

The revision: people can look at so much a day, so a run promotes at most ten items that are new to them, those with
the most points; the others are monitored, and a later run promotes them. An item that the previous run blocked is
monitored for one run first.

All that happens once the store is open is on record: a run that fails is finished as `failed` with the reason in its
notes (exit status 1), and one that is interrupted as `cancelled` (130).
"""

import argparse
import contextlib
import functools
import itertools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.state_store import IntelItem, IntelItemInput, RunExistsError, StateStore, StateStoreError

PROMOTE_FROM, BLOCK_BELOW = 70, 35
PROMOTIONS_PER_RUN = 10
CHANGES_SHOWN = 8
DECISIONS = ("promote", "monitor", "block")
RULE = f"base less the weights of the flags; promote from {PROMOTE_FROM}, block below {BLOCK_BELOW}, else monitor"
WEIGHTS = {
    # of distributions
    "no_licence": 35,
    "no_project_url": 15,
    "no_summary": 10,
    "unpinned_requirement": 10,
    "version_zero": 5,
    "pre_release": 25,
    "inactive": 70,
    # of advisories
    "withdrawn": 100,
    "no_vulnerability": 25,
    "no_fix": 20,
    "no_severity": 5,
    "no_reference": 10,
}
CVSS_POINTS = {"AV:N": 15, "PR:N": 10, "UI:N": 5, "C:H": 10, "I:H": 10, "A:H": 10}

Items = dict[str, IntelItem]
T = TypeVar("T")


class SourceError(Exception):
    """The input cannot be used; the message says what is wrong, and where."""


@dataclass(frozen=True)
class Finding:
    """What a source says about one thing, not judged yet. Its `key` is the same in every run."""

    item_type: str
    key: str
    version: str
    title: str
    summary: str
    claims: dict[str, Any]
    evidence: list[Any]
    flags: list[str]
    base: int = 100


def flagged(**conditions: object) -> list[str]:
    """Return the names of the conditions that hold."""
    return [flag for flag, holds in conditions.items() if holds]


def read_distributions() -> Iterator[Finding]:
    """Yield what `importlib.metadata` says about each installed distribution."""
    seen = {""}
    for distribution in metadata.distributions():
        field = functools.partial(metadata_field, distribution.metadata)
        name, version = "".join(field("Name")), "".join(field("Version"))
        key = re.sub(r"[-_.]+", "-", name).lower()
        # A half-removed distribution has no name, and of two with the same name Python imports the first.
        if key in seen:
            continue
        seen.add(key)
        licences = field("License-Expression") + field("License") + field("License-File")
        licences += [classifier for classifier in field("Classifier") if classifier.startswith("License ::")]
        urls = [url.rpartition(", ")[2] for url in field("Project-URL")] + field("Home-page")
        requirements = [r.partition(";")[0].strip() for r in field("Requires-Dist") if "extra ==" not in r]
        yield Finding(
            item_type="distribution",
            key=key,
            version=version,
            title=f"{name} {version}",
            summary="".join(field("Summary")),
            claims={"licence": licences[0].splitlines()[0] if licences else None, "requires": requirements},
            evidence=[{"type": "WEB", "url": url} for url in urls],
            flags=flagged(
                no_licence=not licences,
                no_project_url=not urls,
                no_summary=not field("Summary"),
                unpinned_requirement=not all(re.search(r"[<>=~!@]", requirement) for requirement in requirements),
                version_zero=version.startswith("0."),
                pre_release=re.search(r"(a|b|rc|dev)\d+", version.partition("+")[0]),
                inactive="Development Status :: 7 - Inactive" in field("Classifier"),
            ),
        )


def metadata_field(about: metadata.PackageMetadata, name: str) -> list[str]:
    """Return what a field of a distribution's metadata says; it may be absent, empty or there several times."""
    return [value for value in about.get_all(name, []) if value.strip() not in ("", "UNKNOWN")]


def read_advisories(path: Path) -> Iterator[Finding]:
    """Yield the advisories of a file of JSON lines; an error names the file and the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                yield advisory_finding(json.loads(line))
        except json.JSONDecodeError as error:
            raise SourceError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from error
        except (SourceError, ValueError, RecursionError) as error:
            raise SourceError(f"{path}:{number}: {error}") from error


def advisory_finding(advisory: Any) -> Finding:
    """Return what one OSV record says."""
    key = member(advisory, "id", str)
    if not key:
        raise SourceError("not an advisory: it has no 'id'")
    details, headline = member(advisory, "details", str), member(advisory, "summary", str)
    affected, references = member(advisory, "affected", list), member(advisory, "references", list)
    spans = [span for package in affected for span in member(package, "ranges", list)]
    events = [event for span in spans for event in member(span, "events", list)]
    fixes = [fix for event in events if (fix := member(event, "fixed", str))]
    fixes += [version for package in affected for version in member(package, "patched", list)]
    vectors = [member(severity, "score", str).split("/") for severity in member(advisory, "severity", list)]
    points = [sum(CVSS_POINTS.get(metric.removeprefix("V"), 0) for metric in vector) for vector in vectors]
    return Finding(
        item_type="advisory",
        key=key,
        version=member(advisory, "modified", str) or member(advisory, "published", str),
        title=f"{key}: {headline or details.partition('. ')[0]}",
        summary=details or headline,
        claims={"affects": [member(package, "package", dict) for package in affected], "fixed_in": fixes},
        evidence=references + [{"type": "ALIAS", "id": alias} for alias in member(advisory, "aliases", list)],
        flags=flagged(
            withdrawn=advisory.get("withdrawn"),
            no_vulnerability=advisory.get("informational"),
            no_fix=not fixes,
            no_severity=not vectors,
            no_reference=not references,
        ),
        base=40 + max(points, default=20),
    )


def member(record: Any, name: str, kind: type[T]) -> T:
    """Return a member of a JSON object, which has to be of a kind; an empty one where it is absent or null."""
    if not isinstance(record, dict):
        raise SourceError(f"not an advisory: {json.dumps(record):.40} where an object is wanted")
    value = record.get(name)
    if not isinstance(value, kind | None):
        raise SourceError(f"not an advisory: {name!r} is a {type(value).__name__}, not a {kind.__name__}")
    return kind() if value is None else value


def judge(finding: Finding, run_id: str) -> IntelItemInput:
    """Return the finding as an item, decided by `RULE`."""
    deductions = {flag: WEIGHTS[flag] for flag in finding.flags}
    score = max(0, finding.base - sum(deductions.values()))
    decision = "promote" if score >= PROMOTE_FROM else "block" if score < BLOCK_BELOW else "monitor"
    return {
        "item_id": f"{run_id}/{finding.key}",
        "run_id": run_id,
        "item_type": finding.item_type,
        "title": finding.title,
        "summary": finding.summary,
        "claims_json": {"version": finding.version, **finding.claims},
        "evidence_json": finding.evidence,
        "scores_json": {"base": finding.base, "total": score},
        "risk_flags_json": finding.flags,
        "explainability_json": {"rule": RULE, "deductions": deductions, "first_decision": decision},
        "decision": decision,
        "decision_reason": ", ".join(f"{flag} -{weight}" for flag, weight in deductions.items()) or "no risk flags",
    }


def version(item: IntelItem) -> str:
    """Return the version that an item is about."""
    return str(item["claims_json"]["version"])


def recorded(store: StateStore, run_id: str) -> Items:
    """Return a run's items, the most points first, under the keys that they have in every run."""
    items = store.list_intel_items_for_run(run_id)
    items.sort(key=lambda item: (-item["scores_json"]["total"], item["item_id"]))
    return {item["item_id"].removeprefix(f"{run_id}/"): item for item in items}


def to_wait(items: Items, before: Items) -> Iterator[IntelItem]:
    """Yield the promoted items that have to wait, as they are to be stored."""
    places = PROMOTIONS_PER_RUN
    for key, item in items.items():
        old = before.get(key)
        if item["decision"] != "promote" or (old and old["decision"] == "promote" and version(old) == version(item)):
            continue
        if old and old["decision"] == "block":
            reason = "waits: the previous run blocked it"
        elif places:
            places -= 1
            continue
        else:
            reason = f"waits: the {PROMOTIONS_PER_RUN} promotions of this run are taken"
        explanation = {**item["explainability_json"], "revised_because": reason}
        yield {**item, "decision": "monitor", "decision_reason": reason, "explainability_json": explanation}


def start_run(store: StateStore, kind: str, origin: str) -> str:
    """Start a run under the first number of the day that is free, whoever else starts one, and return its id."""
    settings = {"origin": origin, "rule": RULE, "promotions_per_run": PROMOTIONS_PER_RUN}
    number = 0
    while True:
        number += 1
        with contextlib.suppress(RunExistsError):
            return store.start_run(f"{kind}-{datetime.now(UTC):%Y-%m-%d}-{number}", kind, settings).run_id


def previous_run(store: StateStore, kind: str, origin: str) -> str | None:
    """Return the last completed run of the same source."""
    row = store.connection.execute(
        """
        SELECT run_id FROM runs
        WHERE run_type = ? AND settings_snapshot_json ->> 'origin' = ? AND status = 'completed'
        ORDER BY started_at DESC, rowid DESC LIMIT 1
        """,
        (kind, origin),
    ).fetchone()
    return row["run_id"] if row else None


@contextlib.contextmanager
def accounted_for(store: StateStore, run_id: str) -> Iterator[None]:
    """Finish the run as `failed` or `cancelled` when an exception leaves the block."""
    try:
        yield
    except BaseException as error:
        status, notes = "failed", str(error) or repr(error)
        if isinstance(error, KeyboardInterrupt):
            status, notes = "cancelled", "interrupted"
        # Where the store itself is the trouble, its first error says more than a second one would.
        with contextlib.suppress(StateStoreError):
            store.finish_run(run_id, status, notes)
        raise


class Steps(dict[str, float]):
    """Seconds that each step took."""

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Time the block as `step`."""
        started = time.perf_counter()
        yield
        self[step] = time.perf_counter() - started


def daily_run(store: StateStore, kind: str, origin: str, source: Iterable[Finding]) -> str:
    """Do the whole run and return its report."""
    steps = Steps()
    run_id = start_run(store, kind, origin)
    with accounted_for(store, run_id):
        with steps.timed("read the source"):
            findings = list(source)
            if not findings:
                raise SourceError(f"{origin}: there is nothing in it")
        with steps.timed("store the items"):
            store.upsert_intel_items_batch(judge(finding, run_id) for finding in findings)
        # One transaction, so that no other run of this source completes between looking back and revising.
        with steps.timed("revise decisions"), store.transaction():
            previous = previous_run(store, kind, origin)
            before = recorded(store, previous) if previous else {}
            waiting = list(to_wait(recorded(store, run_id), before))
            store.upsert_intel_items_batch(waiting)
        with steps.timed("read them back"):
            items = recorded(store, run_id)
        with steps.timed("write telemetry"):
            decisions = Counter(str(item["decision"]) for item in items.values())
            store.write_telemetry(run_id, {"items": len(items), "decisions": decisions, "seconds": steps})
        with steps.timed("finish the run"):
            store.finish_run(run_id, "completed", f"{len(items)} items, {len(waiting)} have to wait")

    report = [f"Run {run_id} completed: {len(items):,} {kind} from {origin}"]
    shares = [(name, f"{decisions[name]:,}", f"{decisions[name] / len(items):.1%}") for name in DECISIONS]
    report += table("Decisions", "<>>", shares)
    if waiting:
        report.append(f"  {len(waiting):,} of the monitored would be promoted, but have to wait")
    top_ten = [
        (f"{item['scores_json']['total']}", f"{item['decision']}", item["title"], f"{item['decision_reason']}")
        for item in itertools.islice(items.values(), 10)
    ]
    report += table("Top ten", "><<<", top_ten)
    report += table("Time", "<>", [(step, duration(seconds)) for step, seconds in steps.items()])
    report += changes(before, items, previous) if previous else ["", "Changes: none, this source had no run before"]
    return "\n".join(report)


def changes(before: Items, after: Items, previous: str) -> list[str]:
    """Return the lines that say what changed since the previous run."""
    both = [(before[key], item) for key, item in after.items() if key in before]
    kinds = {
        "added": [(item, f"{item['decision']}") for key, item in after.items() if key not in before],
        "removed": [(item, f"was {item['decision']}") for key, item in before.items() if key not in after],
        "new version": [(b, f"{version(a)} -> {version(b)}") for a, b in both if version(a) != version(b)],
        "new decision": [(b, f"{a['decision']} -> {b['decision']}") for a, b in both if a["decision"] != b["decision"]],
    }
    rows = []
    for kind, changed in kinds.items():
        rows += [(kind, item["title"], what) for item, what in changed[:CHANGES_SHOWN]]
        rows += [(kind, f"and {len(changed) - CHANGES_SHOWN:,} more", "")] if len(changed) > CHANGES_SHOWN else []
    counts = ", ".join(f"{kind} {len(changed):,}" for kind, changed in kinds.items() if changed) or "none"
    return table(f"Changes since {previous}: {counts}", "<<<", rows)


def table(heading: str, align: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table under its heading; `align` has `<` or `>` for each column."""
    cells = [[clipped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(row, align, widths, strict=True)) for row in cells)
    return ["", heading, *(f"  {line}".rstrip() for line in lines)]


def clipped(text: str, width: int = 64) -> str:
    """Return a text, which may come from anywhere, as one short line that is safe to print."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= width else f"{line[: width - 3].rstrip()}..."


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def main() -> int:
    """Run from the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="take the advisories of this file")
    parser.add_argument("--db", default="build/daily_run.db", type=Path, help="the store (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.file:
        source = ("advisories", str(arguments.file.absolute()), read_advisories(arguments.file))
    else:
        source = ("distributions", sys.prefix, read_distributions())
    try:
        with StateStore(arguments.db) as store:
            report = daily_run(store, *source)
    except KeyboardInterrupt:
        print("daily_run: interrupted", file=sys.stderr)
        return 130
    except (SourceError, StateStoreError, OSError) as error:
        print(f"daily_run: {error}", file=sys.stderr)
        return 1
    report += f"\n\nDatabase {arguments.db}: {arguments.db.stat().st_size / 1e3:,.0f} kB"
    # Titles come from anywhere, and not every terminal has all their letters.
    print(report.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding))
    return 0


if __name__ == "__main__":
    sys.exit(main())
