"""Write docs/cli.md: the reference of the command line, made from its help, below what is written by hand.

    python -m tools.cli_reference

The first block that is a terminal's is made, too.

A test fails where the page is not what this writes.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from orchestrator.state_store._cli.errors import PROG
from orchestrator.state_store._cli.program import cli

from tools.cli_transcript import transcript

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
MARK = "<!-- What follows is generated: python -m tools.cli_reference -->\n"
TERMINAL = re.compile(r"(?<=^```text\n)\$ .*?(?=^```$)", re.MULTILINE | re.DOTALL)
WIDTH = 120
EVERYWHERE = {"--db", "--json"}
"""Options that are described once."""


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(page: str) -> str:
    """Return the page with the reference of today."""
    by_hand = TERMINAL.sub(lambda _: transcript(), page.partition(MARK)[0], count=1)
    return by_hand + MARK + "\n" + "\n".join(reference())


def reference() -> Iterator[str]:
    """Yield the lines of the reference."""
    yield "## Verbs\n"
    yield "Each takes `--db`. What prints rows or a record takes `-o` and `--json`.\n"
    verbs = list(verbs_of(cli, []))
    yield from (f"- [`{path}`](#{path.replace(' ', '-')}): {summary(command)}" for path, command in verbs)
    for path, command in verbs:
        yield f"\n### {path}\n"
        arguments = [each.make_metavar(click.Context(command)) for each in command.params if is_argument(each)]
        yield f"`{' '.join([PROG, path, '[OPTIONS]', *arguments])}`\n"
        yield "\n\n".join(paragraph(each) for each in (command.help or "").split("\n\n"))
        options = [each for each in command.params if isinstance(each, click.Option) and not EVERYWHERE & {*each.opts}]
        if options:
            yield "\n| option | meaning |\n|---|---|"
        for option in options:
            yield from row(option)


def verbs_of(group: click.Group, path: list[str]) -> Iterator[tuple[str, click.Command]]:
    """Yield each verb of a group, and of those within, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs_of(command, [*path, name])
        else:
            yield " ".join([*path, name]), command


def is_argument(parameter: click.Parameter) -> bool:
    """Return whether it has no name on the command line."""
    return isinstance(parameter, click.Argument)


def summary(command: click.Command) -> str:
    """Return the first sentence of a verb's help."""
    return (command.help or "").partition("\n\n")[0]


def paragraph(text: str) -> str:
    """Return a paragraph as Markdown."""
    if text.startswith("\b"):
        return "```text\n" + text.removeprefix("\b\n") + "\n```"
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def row(option: click.Option) -> Iterator[str]:
    """Yield the lines of an option in a table: its meaning goes on in the next one if it is long."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {option.metavar or 'TEXT'}"
    default = f" Default: {option.default}." if option.show_default and option.default else ""
    name = f"`{names}{value}`"
    meaning = re.sub(r"  \[default: (.*)\]", r" Default: \1.", option.help or "")
    lines = textwrap.wrap(f"{meaning}{default}".replace("|", "\\|"), WIDTH - len(name) - 10, break_long_words=False)
    for number, line in enumerate(lines):
        yield f"| {name if not number else ''} | {line} |".replace("|  |", "| |")


if __name__ == "__main__":
    main()
