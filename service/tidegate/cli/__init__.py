"""The `tidegate` command. It connects all parts, and no other package imports it."""

import sys

from tidegate.core.domain.errors import ConfigurationError, TidegateError

__all__ = ["main"]


def main() -> None:
    """Runs the command line. Each configuration error is one sentence on stderr, and the exit code is then 2.

    Any other error that Tidegate raises on purpose ends in exit code 1.
    """
    from tidegate.cli.commands import commands  # noqa: PLC0415 - click is for the command line only

    try:
        commands(prog_name="tidegate")
    except ConfigurationError as error:
        sys.stderr.writelines(f"tidegate: {line}\n" for line in str(error).splitlines())
        sys.exit(2)
    except TidegateError as error:
        sys.stderr.write(f"tidegate: {error}\n")
        sys.exit(1)
