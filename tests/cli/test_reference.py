"""docs/cli.md is what the verbs say of themselves."""

from __future__ import annotations

import re

from orchestrator.state_store._cli.program import cli

from tools.cli_reference import PAGE, verbs_of, written


def test_the_page_is_what_its_script_writes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == written(text), "a verb has changed: run `python -m tools.cli_reference`"


def test_each_verb_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    verbs = [path for path, _ in verbs_of(cli, [])]
    assert len(verbs) >= 20
    assert [path for path in verbs if f"\n### {path}\n" not in text] == []


def test_verbs_that_the_page_shows_are_there() -> None:
    by_hand = PAGE.read_text(encoding="utf-8").partition("## Verbs")[0]
    shown = re.findall(r"^orchestrator-state (.*?)(?:  +#.*)?$", by_hand, re.MULTILINE)
    verbs = [path for path, _ in verbs_of(cli, [])]
    assert len(shown) > 5
    assert [line for line in shown if not any(line.startswith(path) for path in verbs)] == []
