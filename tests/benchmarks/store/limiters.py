"""The limiters that share their state on one Valkey server, each behind the same call."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, NamedTuple

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter
from pyrate_limiter import Limiter as PyrateLimiter
from pyrate_limiter import Rate
from pyrate_limiter.buckets import RedisBucket
from valkey.asyncio import Valkey

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.store_address import StoreAddress
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SystemClock
from tidegate.stores.valkey.shared_store import SharedStore
from tidegate.stores.valkey.valkey_log import ValkeyLog

__all__ = ["BURST_SECONDS", "LIMITERS", "NARROW", "OURS", "WIDE", "Limiter", "Reserve", "Settle", "open_store"]

BURST_SECONDS: Final = 0.05
"""Tidegate's bucket holds so much of its rate. The others have no such parameter: their window is a second."""

WIDE: Final = "wide"
"""A quota that never binds: 10 million calls per second."""
NARROW: Final = "narrow"
"""A quota of 1,000 calls per second."""
_PER_SECOND: Final = {WIDE: 10_000_000, NARROW: 1_000}
_TIMEOUT_SECONDS: Final = 5.0

Settle = Callable[[], Awaitable[object]]
Reserve = Callable[[str], Awaitable[Settle | None]]
"""Reserves one call of a quota. Returns what settles it; None: it is refused, because the limiter cannot wait."""
Open = Callable[[int, str], AbstractAsyncContextManager[Reserve]]
"""Connects a process to the server on a port. The name of the process is unique."""


class Limiter(NamedTuple):
    """A limiter in the comparison.

    Attributes:
        name: of the library, and of its strategy.
        open: see `Open`.
        settles: whether it corrects the reserved cost by the real one. Otherwise a pair is the reservation alone.
    """

    name: str
    open: Open
    settles: bool = False


_COST: Final = Cost(requests=1, input_tokens=900, output_tokens=300)
_USED: Final = Cost(requests=1, input_tokens=880, output_tokens=310)


@asynccontextmanager
async def open_store(port: int, name: str) -> AsyncIterator[SharedStore]:
    """Our store, as one replica."""
    pools = {
        quota: PoolSettings(
            limits={
                dimension: LimitSettings(60 * per_second * amount, BURST_SECONDS * per_second * amount)
                for dimension, amount in zip(Dimension, _COST, strict=True)
            },
            caps=QueueCaps(1_000_000),
        )
        for quota, per_second in _PER_SECOND.items()
    }
    log = ValkeyLog(StoreAddress("server", (("127.0.0.1", port),)), _TIMEOUT_SECONDS)
    store = SharedStore(log, SystemClock(), pools, replica=name)
    await store.start()
    for quota in pools:
        await store.learn(quota, Succeeded(sent_ago_ns=0))  # a pool without responses admits one request at a time
    try:
        yield store
    finally:
        await store.leave()
        await log.close()


@asynccontextmanager
async def _open_tidegate(port: int, name: str) -> AsyncIterator[Reserve]:
    async with open_store(port, name) as store:
        admission = Admission(store, SystemClock())
        admission.replica = name
        demands = {quota: Demand(quota, DEFAULT_CALLER, _COST) for quota in _PER_SECOND}

        async def reserve(quota: str) -> Settle:
            lease = await admission.acquire(demands[quota])
            return lambda: lease.end(Outcome.SETTLED, _USED)

        yield reserve


async def _nothing() -> None:
    """Settles what needs no settlement."""


def _open_limits(strategy: type[RateLimiter]) -> Open:
    @asynccontextmanager
    async def opened(port: int, _name: str) -> AsyncIterator[Reserve]:
        limiter = strategy(RedisStorage(f"async+valkey://127.0.0.1:{port}"))
        items = {quota: RateLimitItemPerSecond(per_second) for quota, per_second in _PER_SECOND.items()}

        async def reserve(quota: str) -> Settle | None:
            return _nothing if await limiter.hit(items[quota], quota) else None

        yield reserve

    return opened


@asynccontextmanager
async def _open_pyrate(port: int, _name: str) -> AsyncIterator[Reserve]:
    client: Any = Valkey(host="127.0.0.1", port=port)
    limiters = {}
    for quota, per_second in _PER_SECOND.items():
        bucket: Any = RedisBucket.init([Rate(per_second, 1_000)], client, f"pyrate-{quota}")
        limiters[quota] = PyrateLimiter(await bucket)

    async def reserve(quota: str) -> Settle | None:
        return _nothing if await limiters[quota].try_acquire_async(blocking=False) else None

    try:
        yield reserve
    finally:
        for limiter in limiters.values():
            limiter.close()
        await client.aclose()


OURS: Final = "tidegate"
LIMITERS: Final = {
    each.name: each
    for each in (
        Limiter(OURS, _open_tidegate, settles=True),
        Limiter("limits, fixed window", _open_limits(FixedWindowRateLimiter)),
        Limiter("limits, moving window", _open_limits(MovingWindowRateLimiter)),
        Limiter("pyrate-limiter", _open_pyrate),
    )
}
"""All limiters by name; ours is the first."""
