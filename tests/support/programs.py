"""Runs programs that must succeed."""

import subprocess
from pathlib import Path
from typing import Any

__all__ = ["output_of"]


def output_of(*command: str | Path, timeout: float = 60, **options: Any) -> str:
    """Run a program and return what it printed on stdout.

    Args:
        command: the program and its arguments.
        timeout: in seconds.
        options: further arguments of `subprocess.run`.

    Raises:
        AssertionError: it failed. The message is what it printed on stdout and stderr.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
