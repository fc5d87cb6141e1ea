"""Runs the command `tidegate` inside of the test."""

from click.testing import CliRunner, Result

from tidegate.cli.commands import commands

__all__ = ["run"]


def run(*arguments: str, catch_exceptions: bool = True) -> Result:
    """Run a command. The result has its output, its exit code, and the exception that it raised, if that is caught."""
    return CliRunner().invoke(commands, arguments, catch_exceptions=catch_exceptions)
