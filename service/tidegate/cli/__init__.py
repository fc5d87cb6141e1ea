"""The `tidegate` command: wires everything. Nothing else imports it."""

import sys

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["main"]


def main() -> None:
    """Runs the command line. Each fault of the configuration is one sentence on stderr; the exit code is 2."""
    from tidegate.cli.commands import commands  # noqa: PLC0415 - click is for the command line only

    try:
        commands(prog_name="tidegate")
    except ConfigurationError as error:
        sys.exit(_told(error))


def _told(error: ConfigurationError) -> int:
    sys.stderr.writelines(f"tidegate: {line}\n" for line in str(error).splitlines())
    return 2
