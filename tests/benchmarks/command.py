"""Shared by the benchmarks' command lines: help, `--strict`, and progress on stderr."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

__all__ = ["Progress", "bench_parser", "exit_code"]

_MINUTE_SECONDS: Final = 60


def bench_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Create a parser with `--help` and `--strict`."""
    parser = argparse.ArgumentParser(name, description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a figure misses its bound (else with 0)")
    return parser


def exit_code(missed: int, *, strict: bool) -> int:
    """1 if a bound was missed and `strict` is set, else 0: a miss may be caused by the machine."""
    return 1 if missed and strict else 0


class Progress:
    """Reports on stderr which step starts, how many are left, and the estimated time.

    Args:
        steps: Number of steps.
        stream: Where to write.
        clock: Monotonic seconds.
    """

    def __init__(self, steps: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started_seconds = clock()
        self._begun = 0

    def begin(self, what: str) -> None:
        """Start a step; the previous one has ended."""
        done, self._begun = self._begun, self._begun + 1
        left = ""
        if done:
            seconds = (self._clock() - self._started_seconds) / done * (self._steps - done)
            left = f" (about {_duration(seconds)} left)"
        self._stream.write(f"[{self._begun}/{self._steps}] {what}{left}\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    if seconds < _MINUTE_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_SECONDS:.0f} min"
