"""`tidegate completion`: shell completion of commands and options."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script for a shell.

    For bash, add to ~/.bashrc: eval "$(tidegate completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind, "click supports all allowed shells"  # noqa: S101
    root = context.find_root()
    click.echo(kind(root.command, {}, "tidegate", "_TIDEGATE_COMPLETE").source())
