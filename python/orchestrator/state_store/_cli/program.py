"""The verbs, and the program around them."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from orchestrator.state_store import SQLITE_VERSION, __version__
from orchestrator.state_store._cli.completion import VARIABLE, completion
from orchestrator.state_store._cli.errors import PROG, guarded
from orchestrator.state_store._cli.files import backup, copy, salvage
from orchestrator.state_store._cli.group import Verbs, help_without_verb
from orchestrator.state_store._cli.items import items
from orchestrator.state_store._cli.look import page, report
from orchestrator.state_store._cli.options import db_option
from orchestrator.state_store._cli.runs import runs
from orchestrator.state_store._cli.sql import sql
from orchestrator.state_store._cli.upkeep import check, prune, stats, vacuum


class Program(Verbs):
    """The program: it exits with the status that its verbs say."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the verb that words begin with; say what a store is named by where one stands in its place."""
        if args[0] not in self.commands and {".", "/"} & {*args[0]}:
            ctx.fail(f"{args[0]!r} is no verb; a store is named by --db")
        return super().resolve_command(ctx, args)

    def main(self, args: Any = None, prog_name: str | None = None, *_: Any, **__: Any) -> Any:
        """Run it, and exit."""
        words = sys.argv[1:] if args is None else list(args)
        name = prog_name or PROG

        def run() -> None:
            instruction = os.environ.get(VARIABLE)
            if instruction:
                from click.shell_completion import shell_complete

                raise click.exceptions.Exit(shell_complete(self, {}, name, VARIABLE, instruction))
            with self.make_context(name, words) as ctx:
                self.invoke(ctx)

        sys.exit(guarded(run))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@db_option
@click.version_option(__version__, message=f"%(prog)s %(version)s, SQLite {SQLITE_VERSION}")
def cli() -> None:
    """Look at the runs and items of a store, and look after it.

    The store is only read, unless the verb writes. Exit status: 0; 1 failed, or findings; 2 wrong usage; 3 no such run
    or item; 130 Ctrl-C.
    """
    help_without_verb()


for command in (runs, items, stats, check, backup, salvage, prune, vacuum, copy, sql, page, report, completion):
    cli.add_command(command)
