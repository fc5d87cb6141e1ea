"""CPU time of a limiter on the real clock, and its memory. CPU time includes all threads of the process."""

import asyncio
import gc
import time
import tracemalloc

from benchmarks.limiter.contenders import DEMAND, Acquire, Allowance, Open, new_admission
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.engine.clock import SystemClock

__all__ = ["memory_kilobytes", "settle_microseconds", "task_kilobytes", "uncontended_microseconds", "wait_microseconds"]

_NEVER_EMPTY = Allowance(per_second=16_000_000, burst=1_000_000_000)
_BUSY = Allowance(per_second=10_000, burst=100)
"""Timers of an event loop are up to a millisecond late; the burst compensates, so that the rate is fully used."""
_CLOSED = Allowance(per_second=1, burst=1)
_USED = Cost(requests=1, input_tokens=910, output_tokens=250)


async def uncontended_microseconds(open_limiter: Open, calls: int) -> float:
    """CPU time of an `acquire()` that succeeds at once."""
    async with open_limiter(_NEVER_EMPTY, SystemClock()) as acquire:
        started_ns = _start()
        for _ in range(calls):
            await acquire()
        return _microseconds_each(started_ns, calls)


async def settle_microseconds(calls: int) -> float:
    """CPU time to admit a request in three dimensions at once and to settle it with another usage."""
    admission = new_admission(_NEVER_EMPTY._replace(burst=1_000_000), SystemClock())
    started_ns = _start()
    for _ in range(calls):
        lease = await admission.acquire(DEMAND)
        await lease.end(Outcome.SETTLED, _USED)
    return _microseconds_each(started_ns, calls)


async def wait_microseconds(open_limiter: Open, waiters: int) -> float:
    """CPU time per waiter, from the start of its task until it is admitted; all start at once."""
    async with open_limiter(_BUSY, SystemClock()) as acquire:
        started_ns = _start()
        await asyncio.gather(*(acquire() for _ in range(waiters)))
        return _microseconds_each(started_ns, waiters)


async def memory_kilobytes(open_limiter: Open, waiters: int) -> float:
    """Memory that Python allocates per waiter, including its task, in units of 1,024 bytes."""
    async with open_limiter(_CLOSED, SystemClock()) as acquire:
        return await _kilobytes_each(acquire, waiters)


async def task_kilobytes(waiters: int) -> float:
    """As `memory_kilobytes`, for tasks that only wait for a future: the minimum for any limiter."""

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    return await _kilobytes_each(wait, waiters)


async def _kilobytes_each(acquire: Acquire, waiters: int) -> float:
    gc.collect()
    tracemalloc.start()
    tasks = [asyncio.ensure_future(acquire()) for _ in range(waiters)]
    await asyncio.sleep(0)
    allocated_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return allocated_bytes / waiters / 1_024


def _start() -> int:
    gc.collect()
    return time.process_time_ns()


def _microseconds_each(started_ns: int, calls: int) -> float:
    return (time.process_time_ns() - started_ns) / calls / 1_000
