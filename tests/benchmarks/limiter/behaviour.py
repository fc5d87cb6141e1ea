"""How a limiter uses its rate when callers cancel, and how much it admits above it. Exact, on virtual time."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from benchmarks.limiter.contenders import Acquire, Allowance, Open
from support.virtual_time import VirtualClock, run_virtual

__all__ = ["cancelled_ratio", "most_above", "overshoot", "timeouts_share"]

_ALLOWANCE = Allowance(per_second=500, burst=10)
_IMPATIENT_TASKS = 200
_LONGEST_PATIENCE_SECONDS = 0.020
_POLL_SECONDS = 0.001
"""Interval between attempts for a limiter that cannot wait."""


class _RunningClock(VirtualClock):
    """Advances by a nanosecond with each reading: a limiter that rounds badly would otherwise loop forever."""

    def monotonic_ns(self) -> int:
        self.advance(1e-9)
        return super().monotonic_ns()


def cancelled_ratio(open_limiter: Open, waiters: int) -> float:
    """Half of the waiters cancel after a tenth of the time. Return the time of the others, relative to the ideal."""

    async def scenario(acquire: Acquire, clock: VirtualClock) -> float:
        started_seconds = clock.elapsed_s
        tasks = [asyncio.ensure_future(acquire()) for _ in range(waiters)]
        await asyncio.sleep(waiters / _ALLOWANCE.per_second / 10)
        left = [task for task in tasks[::2] if task.cancel()]
        await asyncio.gather(*tasks, return_exceptions=True)
        ideal_seconds = (waiters - len(left) - _ALLOWANCE.burst) / _ALLOWANCE.per_second
        return (clock.elapsed_s - started_seconds) / ideal_seconds

    return _run(open_limiter, scenario)


def timeouts_share(open_limiter: Open, seconds: float) -> float:
    """200 tasks cancel each attempt after 0 to 20 ms and retry. Return the share of the rate they get, in per cent."""

    async def scenario(acquire: Acquire, clock: VirtualClock) -> float:
        random = Random(1)  # noqa: S311  # the same timeouts for every limiter
        admitted = 0
        ends_seconds = clock.elapsed_s + seconds

        async def keep_trying() -> None:
            nonlocal admitted
            while clock.elapsed_s < ends_seconds:
                try:
                    async with asyncio.timeout(random.uniform(0, _LONGEST_PATIENCE_SECONDS)):
                        await acquire()
                except TimeoutError:
                    continue
                admitted += clock.elapsed_s <= ends_seconds

        await asyncio.gather(*(keep_trying() for _ in range(_IMPATIENT_TASKS)))
        return 100 * admitted / (_ALLOWANCE.burst + _ALLOWANCE.per_second * seconds)

    return _run(open_limiter, scenario)


def overshoot(open_limiter: Open, seconds: float) -> float:
    """Return how many requests above rate and burst are admitted in the worst window, after a pause of 2 seconds."""

    async def scenario(acquire: Acquire, clock: VirtualClock) -> float:
        admitted_seconds: list[float] = []
        await acquire()
        await asyncio.sleep(2)
        ends_seconds = clock.elapsed_s + seconds

        async def keep_sending() -> None:
            while clock.elapsed_s < ends_seconds:
                if await acquire() is False:
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    admitted_seconds.append(clock.elapsed_s)

        await asyncio.gather(*(keep_sending() for _ in range(20)))
        return most_above(admitted_seconds, _ALLOWANCE)

    return _run(open_limiter, scenario)


def most_above(admitted_seconds: Sequence[float], allowance: Allowance) -> float:
    """The maximum over all windows of requests − (burst + rate × length); at least 0."""
    fill, worst, before = 0.0, 0.0, 0.0
    for at in admitted_seconds:
        # The highest level of a bucket that leaks at the rate is that maximum, plus the burst.
        fill = max(0.0, fill - (at - before) * allowance.per_second) + 1
        worst, before = max(worst, fill), at
    return max(0.0, worst - allowance.burst)


def _run(open_limiter: Open, scenario: Callable[[Acquire, VirtualClock], Coroutine[Any, Any, float]]) -> float:
    clock = _RunningClock()

    async def opened() -> float:
        async with open_limiter(_ALLOWANCE, clock) as acquire:
            return await scenario(acquire, clock)

    return run_virtual(opened(), clock)
