"""`krt completion SHELL`: the script that makes the shell ask krt for suggestions.

The suggestions themselves come from click and, for names of objects, from `suggestions`.
"""

from __future__ import annotations

import click

_HOW_TO = {
    "bash": "source <(krt completion bash)   # in ~/.bashrc",
    "zsh": "source <(krt completion zsh)   # in ~/.zshrc, after compinit",
    "fish": "krt completion fish > ~/.config/fish/completions/krt.fish",
    "powershell": "krt completion powershell | Out-String | Invoke-Expression   # in $PROFILE",
}
_INSTALLING = "\n\n".join(f"\b\n{shell}:\n  {how}" for shell, how in _HOW_TO.items())


@click.command(help=f"Print the completion script of a shell.\n\n{_INSTALLING}")
@click.argument("shell", type=click.Choice(tuple(_HOW_TO)))
def completion(shell: str) -> None:
    from click.shell_completion import get_completion_class

    from controlplane.cli.app import krt

    writer = get_completion_class(shell)
    assert writer is not None, shell
    click.echo(writer(krt, {}, "krt", "_KRT_COMPLETE").source())
