"""The `tidegate` command: wires everything. Nothing else imports it."""

import sys

from tidegate.core.errors import ConfigurationError

__all__ = ["main"]


def main() -> None:
    """Runs the command line. A fault of the configuration is one sentence on stderr, and exit code 2."""
    from tidegate.cli.commands import commands  # noqa: PLC0415 - typer is for the command line only

    try:
        commands(prog_name="tidegate")
    except ConfigurationError as error:
        sys.exit(_told(error))


def _told(error: ConfigurationError) -> int:
    sys.stderr.write(f"tidegate: {error}\n")
    return 2
