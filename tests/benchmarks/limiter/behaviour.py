"""What a limiter does with its rate when callers give up, and how much it lets through: exact, on virtual time."""

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
"""A limiter that cannot wait is asked this often."""


class _RunningClock(VirtualClock):
    """A nanosecond passes with every look at it: a limiter that rounds badly would otherwise look again for ever."""

    def monotonic_ns(self) -> int:
        self.advance(1e-9)
        return super().monotonic_ns()


def cancelled_ratio(open_limiter: Open, waiters: int) -> float:
    """Half of those who wait leave after a tenth of the time: how long the others take, in units of the ideal time."""

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
    """The share of the rate, in per cent, that 200 tasks get who give up after 0 to 20 ms each time, and try again."""

    async def scenario(acquire: Acquire, clock: VirtualClock) -> float:
        random = Random(1)  # noqa: S311  # the same patience for every limiter
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
    """How many requests more than rate and burst allow are admitted in the worst window, after a pause of 2 seconds."""

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
    """By how many requests the fullest of all windows exceeds burst + rate × its length; 0 if none does."""
    fill, worst, before = 0.0, 0.0, 0.0
    for at in admitted_seconds:
        # A bucket that leaks at the rate: its highest level is what the fullest window holds beyond the rate.
        fill = max(0.0, fill - (at - before) * allowance.per_second) + 1
        worst, before = max(worst, fill), at
    return max(0.0, worst - allowance.burst)


def _run(open_limiter: Open, scenario: Callable[[Acquire, VirtualClock], Coroutine[Any, Any, float]]) -> float:
    clock = _RunningClock()

    async def opened() -> float:
        async with open_limiter(_ALLOWANCE, clock) as acquire:
            return await scenario(acquire, clock)

    return run_virtual(opened(), clock)
