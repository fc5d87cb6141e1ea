"""The `tidegate` command. It connects all parts, and no other package imports it."""

import sys

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["main"]


def main() -> None:
    """Runs the command line. Each configuration error is one sentence on stderr, and the exit code is then 2."""
    from tidegate.cli.commands import commands  # noqa: PLC0415 - click is for the command line only

    try:
        commands(prog_name="tidegate")
    except ConfigurationError as error:
        sys.stderr.writelines(f"tidegate: {line}\n" for line in str(error).splitlines())
        sys.exit(2)
