import io
import os
import subprocess
import sys

import pytest

from benchmarks.command import Progress, bench_parser, exit_code
from support.project import ROOT


def test_progress_tells_what_is_left() -> None:
    stream = io.StringIO()
    seconds = iter([0.0, 10.0, 20.0, 400.0])
    progress = Progress(4, stream, lambda: next(seconds))
    for what in ("a", "b", "c", "d"):
        progress.begin(what)
    assert stream.getvalue().splitlines() == [
        "[1/4] a",
        "[2/4] b (about 30 s left)",
        "[3/4] c (about 20 s left)",
        "[4/4] d (about 2 min left)",
    ]


@pytest.mark.parametrize(("missed", "strict", "code"), [(0, True, 0), (2, True, 1), (2, False, 0), (0, False, 0)])
def test_a_miss_counts_only_where_it_should(missed: int, code: int, *, strict: bool) -> None:
    arguments = ["--strict"] if strict else []
    options = bench_parser("bench", "").parse_args(arguments)
    assert exit_code(missed, strict=options.strict) == code


@pytest.mark.parametrize("module", ["bench_acquire", "goodput", "limiter", "gateway", "gateway.profile"])
def test_every_benchmark_has_help_and_refuses_what_it_does_not_know(module: str) -> None:
    for option, code in (("--help", 0), ("--unknown", 2)):
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", option],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": "tests"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "usage: " in done.stdout + done.stderr
        assert ("--strict" in done.stdout) is (code == 0 and module != "gateway.profile")
