"""Clients that need packages of their own: each has an environment, which the Makefile makes and keeps."""

import fcntl
import subprocess
import sys
from pathlib import Path

from support.project import ROOT


def python_of(name: str) -> Path:
    """The Python of the environment that `tests/clients/requirements-<name>.txt` pins; made if it is not there."""
    return _made(name) / "bin/python"


def claude_code() -> Path:
    """The program of the npm package that `tests/clients/claude-code` pins; installed if it is not there."""
    return _made("claude-code") / "node_modules/.bin/claude"


def _made(name: str) -> Path:
    """The folder that the Makefile makes for a client."""
    environment = ROOT / ".tools" / name
    environment.parent.mkdir(exist_ok=True)
    with (environment.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in parallel
        made = f"{environment.relative_to(ROOT)}/.installed"
        subprocess.run(["make", "--silent", f"PYTHON={sys.executable}", made], cwd=ROOT, check=True, timeout=600)
    return environment
