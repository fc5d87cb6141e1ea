"""Runs the script like its users: by name, in its folder, on the real clock."""

import sys
import time

from support.programs import output_of
from support.project import ROOT


def test_the_script_finds_everything_as_expected() -> None:
    started = time.monotonic()
    output = output_of(sys.executable, "test_rate_limiting.py", cwd=ROOT / "service/services/dsl_generator")
    assert "MISS" not in output
    assert "  caller 20 |" in output
    assert time.monotonic() - started < 60
