"""`tidegate completion`: completes the command's options in a shell."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for a shell that completes commands and options.

    For bash, add to ~/.bashrc: eval "$(tidegate completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind, "click completes each of the shells that are allowed"  # noqa: S101
    root = context.find_root()
    click.echo(kind(root.command, {}, "tidegate", "_TIDEGATE_COMPLETE").source())
