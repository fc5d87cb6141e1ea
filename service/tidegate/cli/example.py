"""`tidegate example`: prints the example of a configuration file."""

import typer

from tidegate.settings.example import example_file

__all__ = ["example"]


def example() -> None:
    """Print a configuration file with every setting, commented: `tidegate example > tidegate.toml`."""
    typer.echo(example_file(), nl=False)
