"""Environments of clients with their own dependencies, which the Makefile creates in `.tools/`."""

import fcntl
import subprocess
import sys
from pathlib import Path

from support.project import ROOT


def python_of(name: str) -> Path:
    """The Python of an environment with `tests/clients/requirements-<name>.txt`, created if necessary."""
    return _made(name) / "bin/python"


def stack_tools() -> Path:
    """The environment with `deploy/stack/requirements.txt`, created if necessary."""
    return _made("stack")


def claude_code() -> Path:
    """The program of the npm package in `tests/clients/claude-code`, installed if necessary."""
    return _made("claude-code") / "node_modules/.bin/claude"


def _made(name: str) -> Path:
    """Create the folder of a client."""
    environment = ROOT / ".tools" / name
    environment.parent.mkdir(exist_ok=True)
    with (environment.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in parallel
        made = f"{environment.relative_to(ROOT)}/.installed"
        subprocess.run(["make", "--silent", f"PYTHON={sys.executable}", made], cwd=ROOT, check=True, timeout=600)
    return environment
