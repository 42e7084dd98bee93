"""Groups of verbs."""

from __future__ import annotations

from typing import Any

import click


class Verbs(click.Group):
    """A group that lists its verbs in the order in which they were added, and shows its help where none is given."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "invoke_without_command": True})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return list(self.commands)


def help_without_verb() -> None:
    """Show the help of the group that is called, where it is called alone."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
