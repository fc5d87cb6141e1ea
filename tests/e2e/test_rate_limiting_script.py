"""Runs the script like its users: by name, in its folder, on the real clock."""

import subprocess
import sys
import time

from support.project import ROOT


def test_the_script_finds_everything_as_expected() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "test_rate_limiting.py"],
        cwd=ROOT / "service/services/dsl_generator",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MISS" not in done.stdout
    assert "  caller 20 |" in done.stdout
    assert time.monotonic() - started < 60
