"""`make bench-limiter`: CPU time, memory and behaviour of the limiter, compared with four others.

The limiters take turns in rounds, so that changes of the machine's speed affect all; CPU times are medians.

    PYTHONPATH=tests python -m benchmarks.limiter
"""

import asyncio
import math
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.command import Progress, bench_parser, exit_code
from benchmarks.limiter.behaviour import cancelled_ratio, overshoot, timeouts_share
from benchmarks.limiter.contenders import CONTENDERS, Open, open_admission, open_hierarchy
from benchmarks.limiter.cost import (
    memory_kilobytes,
    settle_microseconds,
    task_kilobytes,
    uncontended_microseconds,
    wait_microseconds,
)

__all__ = ["Row", "Sizes", "main"]

_OURS = CONTENDERS[0].name
_PEER = CONTENDERS[1].name
_IN_LOOP: dict[str, Open] = {one.name: one.open for one in CONTENDERS if one.waits_in_loop}
_NOTES = """\
limits (moving window, asyncio) only admits or refuses; its callers cannot wait.
botocore blocks the waiting thread: 20,000 waiters share 64 threads. A thread cannot be cancelled.
limits, pyrate-limiter and botocore have no burst parameter: they admit a second's worth at once. Half of
pyrate-limiter's waiters therefore do not wait, and it is faster than the ideal.
Waiters are tasks that start at once and are admitted at 10,000 per second; CPU time and memory include the task."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Number of measurements."""

    calls: int = 20_000
    waiters: int = 20_000
    some_cancelled: int = 2_000
    virtual_seconds: float = 4.0
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a figure for each limiter that has one. The bounds are for ours, as printed."""

    label: str
    figures: Mapping[str, float]
    at_most: float = math.inf
    at_least: float = -math.inf

    @property
    def is_met(self) -> bool:
        """Whether our figure, rounded to two decimals, is within the bounds."""
        return self.at_least <= round(self.figures[_OURS], 2) <= self.at_most

    def line(self) -> str:
        """The figures, the bound and the verdict."""
        cells = "".join(
            f"{self.figures[one.name]:>15.2f}" if one.name in self.figures else f"{'n/a':>15}" for one in CONTENDERS
        )
        bound = f"≤ {self.at_most:g}" if self.at_most < math.inf else f"≥ {self.at_least:g}"
        return f"{self.label:<46}{cells}{bound:>9}  {'PASS' if self.is_met else 'MISS'}"


def main(arguments: Sequence[str] | None = None, sizes: Sizes | None = None) -> int:
    """Print the table. Return 1 if a target was missed and `--strict` is given, else 0."""
    options = bench_parser("bench-limiter", __doc__).parse_args(arguments)
    sizes = sizes or Sizes()
    started_seconds = time.monotonic()
    progress = Progress(sizes.rounds + 4)
    costs = asyncio.run(_costs(sizes, progress))
    rows = [*costs, *_behaviour(sizes, progress)]
    names = "".join(f"{one.name:>15}" for one in CONTENDERS)
    lines = [f"{'':<46}{names}{'target':>9}", *(row.line() for row in rows)]
    task = asyncio.run(task_kilobytes(sizes.waiters))
    missed = sum(not row.is_met for row in rows)
    took = f"{time.monotonic() - started_seconds:.0f} s; missed: {missed} of {len(rows)}"
    sys.stdout.write("\n".join([*lines, _NOTES, f"A task that waits for a bare future takes {task:.2f} KB.", took, ""]))
    return exit_code(missed, strict=options.strict)


async def _costs(sizes: Sizes, progress: Progress) -> list[Row]:
    """The rows whose figures depend on the machine: CPU time and memory."""
    uncontended: dict[str, list[float]] = {}
    settled: list[float] = []
    waiting: dict[str, list[float]] = {}
    waiting_in_three: list[float] = []
    waiting_in_sessions: list[float] = []
    for number in range(1, sizes.rounds + 1):
        progress.begin(f"CPU time, round {number}")
        for one in CONTENDERS:
            figure = await uncontended_microseconds(one.open, sizes.calls)
            uncontended.setdefault(one.name, []).append(figure)
            if one.open_waiting is not None:
                figure = await wait_microseconds(one.open_waiting, sizes.waiters)
                waiting.setdefault(one.name, []).append(figure)
        settled.append(await settle_microseconds(sizes.calls))
        waiting_in_three.append(await wait_microseconds(open_admission, sizes.waiters))
        waiting_in_sessions.append(await wait_microseconds(open_hierarchy, sizes.waiters))
    at_once = _medians(uncontended)
    progress.begin("memory of those who wait")
    memory = {name: await memory_kilobytes(open_limiter, sizes.waiters) for name, open_limiter in _IN_LOOP.items()}
    memory_in_three = await memory_kilobytes(open_admission, sizes.waiters)
    return [
        Row("uncontended acquire_token(), µs CPU", at_once, at_most=round(4 * at_once[_PEER], 2)),
        Row("admit + settle in 3 dimensions, µs CPU", {_OURS: statistics.median(settled)}, at_most=15),
        Row(f"{sizes.waiters:,} waiters, µs CPU each", _medians(waiting), at_most=30),
        Row("  the same in 3 dimensions", {_OURS: statistics.median(waiting_in_three)}, at_most=30),
        Row("  of 10 callers with 100 sessions each", {_OURS: statistics.median(waiting_in_sessions)}, at_most=45),
        Row("memory per waiter, KB", memory, at_most=1.5),
        Row("  the same in 3 dimensions", {_OURS: memory_in_three}, at_most=1.5),
    ]


def _behaviour(sizes: Sizes, progress: Progress) -> Iterator[Row]:
    """The rows on virtual time, equal on every machine."""
    seconds = sizes.virtual_seconds
    progress.begin("half of those who wait are cancelled")
    cancelled = {name: cancelled_ratio(open_limiter, sizes.some_cancelled) for name, open_limiter in _IN_LOOP.items()}
    progress.begin("short timeouts")
    impatient = {name: timeouts_share(open_limiter, seconds) for name, open_limiter in _IN_LOOP.items()}
    progress.begin("requests above rate and burst")
    over = {one.name: overshoot(one.open, seconds) for one in CONTENDERS}
    yield Row(f"half of {sizes.some_cancelled:,} cancelled, time ÷ ideal", cancelled, at_most=1.0)
    yield Row("200 tasks, timeouts 0–20 ms, % of the rate", impatient, at_least=99)
    yield Row("most above rate + burst in any window, requests", over, at_most=0)


def _medians(figures: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
