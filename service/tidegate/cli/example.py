"""`tidegate example`: prints the example of a configuration file."""

import click

from tidegate.settings.example import example_file

__all__ = ["example"]


@click.command()
def example() -> None:
    """Print a configuration file with every setting, commented: `tidegate example > tidegate.toml`."""
    click.echo(example_file(), nl=False)
