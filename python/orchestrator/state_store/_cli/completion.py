"""`completion`: what makes a shell complete verbs, options and run ids."""

from __future__ import annotations

import click

VARIABLE = "_ORCHESTRATOR_STATE_COMPLETE"
"""The variable by which a shell asks."""


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    r"""Print what makes a shell complete words.

    Those are verbs, options and run ids.

    \b
    bash: eval "$(orchestrator-state completion bash)" in ~/.bashrc
    zsh:  eval "$(orchestrator-state completion zsh)" in ~/.zshrc
    fish: orchestrator-state completion fish | source, in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert kind
    click.echo(kind(root.command, {}, "orchestrator-state", VARIABLE).source())
