"""The limiters that are compared, each behind the same call, `acquire()`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Final, NamedTuple
from unittest.mock import patch

from aiolimiter import AsyncLimiter
from botocore.exceptions import CapacityNotAvailableError
from botocore.retries.bucket import TokenBucket
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from msgspec import structs
from pyrate_limiter import InMemoryBucket, Limiter, Rate
from pyrate_limiter.clocks import AbstractClock

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.clock import Clock
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore

__all__ = [
    "CONTENDERS",
    "DEMAND",
    "Acquire",
    "Allowance",
    "Contender",
    "Open",
    "new_admission",
    "open_admission",
    "open_hierarchy",
]

Acquire = Callable[[], Awaitable[object]]
"""Admits one request. Returns False if a limiter that cannot wait has refused it."""

DEMAND: Final = Demand("sonnet", DEFAULT_CALLER, Cost(requests=1, input_tokens=900, output_tokens=300))
"""A request in three dimensions."""

_THREADS: Final = 64
"""How many callers of botocore's bucket block at a time; the others wait for a thread."""


class Allowance(NamedTuple):
    """The limits. Only tidegate and aiolimiter have a burst; the others hold a second's worth."""

    per_second: int
    burst: int


Open = Callable[[Allowance, Clock], AbstractAsyncContextManager[Acquire]]
"""Creates a limiter on a clock, and stops its background work at the end of the block."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A limiter in the comparison.

    Attributes:
        name: Name of the library.
        open: Used without waiting, and on virtual time.
        open_waiting: Used for waiting in real time; None if it cannot wait.
        waits_in_loop: Whether a waiter is a task, which can be cancelled.
    """

    name: str
    open: Open
    open_waiting: Open | None
    waits_in_loop: bool


@asynccontextmanager
async def _open_tidegate(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    store = MemoryStore(clock)
    config = RateLimitConfig(requests_per_minute=60 * allowance.per_second, burst_limit=allowance.burst)
    yield RateLimiter(config, store=store, admission=Admission(store, clock)).acquire_token


def new_admission(allowance: Allowance, clock: Clock) -> Admission:
    """Create admission to a pool in which all three dimensions allow `DEMAND` equally often."""
    limits = {
        dimension: LimitSettings(60 * allowance.per_second * amount, allowance.burst * amount)
        for dimension, amount in zip(Dimension, DEMAND.cost, strict=True)
    }
    store = MemoryStore(clock, {DEMAND.pool: PoolSettings(limits=limits, caps=QueueCaps(1_000_000))})
    store.learn_now(DEMAND.pool, Succeeded(sent_ago_ns=0))  # a pool without responses admits one request at a time
    return Admission(store, clock)


@asynccontextmanager
async def open_admission(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    """Our limiter in three dimensions, as the gateway uses it."""
    admission = new_admission(allowance, clock)
    yield lambda: admission.acquire(DEMAND)


@asynccontextmanager
async def open_hierarchy(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    """As `open_admission`, for ten callers with a hundred sessions each, in turn."""
    admission, numbers = new_admission(allowance, clock), count()
    callers = [Caller(f"caller-{number}") for number in range(10)]

    def acquire() -> Awaitable[object]:
        number = next(numbers)
        session = f"session-{number // 10 % 100}"
        return admission.acquire(structs.replace(DEMAND, caller=callers[number % 10], session=session))

    yield acquire


@asynccontextmanager
async def _open_aiolimiter(allowance: Allowance, _clock: Clock) -> AsyncIterator[Acquire]:
    # It uses the time of the event loop.
    yield AsyncLimiter(allowance.burst, time_period=allowance.burst / allowance.per_second).acquire


@asynccontextmanager
async def _open_limits(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    item = RateLimitItemPerSecond(allowance.per_second)
    with patch("limits.aio.storage.memory.time", SimpleNamespace(time=clock.wall_seconds)):
        limiter = MovingWindowRateLimiter(MemoryStorage())
        yield lambda: limiter.hit(item)


class _PyrateClock(AbstractClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> int:
        return self._clock.monotonic_ns() // 1_000_000


@asynccontextmanager
async def _open_pyrate(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    bucket = InMemoryBucket([Rate(allowance.per_second, 1_000)])
    bucket._clock = _PyrateClock(clock)
    with Limiter(bucket) as limiter:
        yield limiter.try_acquire_async


class _BotocoreClock:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def current_time(self) -> float:
        return self._clock.monotonic_ns() / 1e9


@asynccontextmanager
async def _open_botocore(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    bucket = TokenBucket(allowance.per_second, _BotocoreClock(clock))

    async def acquire() -> bool:
        try:
            return bool(bucket.acquire(block=False))
        except CapacityNotAvailableError:
            return False

    yield acquire


@asynccontextmanager
async def _open_botocore_in_threads(allowance: Allowance, clock: Clock) -> AsyncIterator[Acquire]:
    bucket = TokenBucket(allowance.per_second, _BotocoreClock(clock))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_THREADS) as threads:
        yield lambda: loop.run_in_executor(threads, bucket.acquire)


CONTENDERS: Final = (
    Contender("tidegate", _open_tidegate, _open_tidegate, waits_in_loop=True),
    Contender("aiolimiter", _open_aiolimiter, _open_aiolimiter, waits_in_loop=True),
    Contender("limits", _open_limits, None, waits_in_loop=False),
    Contender("pyrate-limiter", _open_pyrate, _open_pyrate, waits_in_loop=True),
    Contender("botocore", _open_botocore, _open_botocore_in_threads, waits_in_loop=False),
)
"""All limiters; ours is the first."""
