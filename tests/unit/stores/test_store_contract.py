"""What callers may expect of every store: in memory, shared as leader or follower, or alone without the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from support.memory_log import LogServer
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import ProcessStore

PER_MINUTE = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 2)}, AdaptiveSettings(0), QueueCaps(requests=3))
ONE = Demand("p", Caller("ann"), Cost(1))
KINDS = ["memory", "leader", "follower", "alone"]


class Waits:
    """Grants and refusals of a store, and the timer that any engine sets."""

    def __init__(self, store: ProcessStore) -> None:
        self.store = store
        self.granted: list[str] = []
        self.refused: dict[str, Refused] = {}
        store.watch(self._on_change)

    def _on_change(self, change: Change) -> None:
        self.granted += change.granted
        self.refused.update(change.refused)
        if change.next_in_ns is not None:
            asyncio.get_running_loop().call_later(change.next_in_ns / 1e9, self.store.advance, change.pool)


@asynccontextmanager
async def opened(kind: str, clock: VirtualClock) -> AsyncIterator[tuple[ProcessStore, str]]:
    """A store, and the name that its lease ids begin with."""
    if kind == "memory":
        yield MemoryStore(clock, {"p": PER_MINUTE}), "m"
    elif kind == "alone":
        replica = Replica(LogServer(clock, is_down=True), clock, "r", {"p": PER_MINUTE}, without_store=1)
        await replica.start()
        await asyncio.sleep(4)  # nothing is available at first
        yield replica.store, "r"
        await replica.kill()
    else:
        async with replicas(clock, {"p": PER_MINUTE}, 2) as (_, running):
            (replica,) = (each for each in running if each.leads is (kind == "leader"))
            yield replica.store, replica.name


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[ProcessStore, Waits, str], Awaitable[None]]], None]:
    def run_test(test: Callable[[ProcessStore, Waits, str], Awaitable[None]]) -> None:
        clock = VirtualClock()

        async def main() -> None:
            async with opened(request.param, clock) as (store, name):
                await test(store, Waits(store), name)

        run_virtual(main(), clock)

    return run_test


Run = Callable[[Callable[[ProcessStore, Waits, str], Awaitable[None]]], None]


def test_demands_that_do_not_fit_wait_in_order_until_a_change_grants_them(run: Run) -> None:
    async def test(store: ProcessStore, waits: Waits, name: str) -> None:
        assert await store.reserve(f"{name}-1", ONE) == GRANTED
        assert await store.reserve(f"{name}-2", ONE) == GRANTED
        assert isinstance(await store.reserve(f"{name}-3", ONE), Wait)
        assert isinstance(await store.reserve(f"{name}-4", ONE), Wait)
        left = await store.wait_left("p", f"{name}-4")
        assert left is not None
        assert left.place == 2
        await asyncio.sleep(1.3)
        assert waits.granted == [f"{name}-3"]
        await asyncio.sleep(1)
        assert waits.granted == [f"{name}-3", f"{name}-4"]
        assert await store.wait_left("p", f"{name}-4") is None

    run(test)


def test_a_full_queue_and_a_patience_that_is_too_short_refuse(run: Run) -> None:
    async def test(store: ProcessStore, _waits: Waits, name: str) -> None:
        for number in range(5):
            await store.reserve(f"{name}-{number}", ONE)
        full = await store.reserve(f"{name}-5", ONE)
        assert isinstance(full, Refused)
        assert full.cause is Cause.QUEUE_FULL
        await store.withdraw("p", f"{name}-4")
        late = await store.reserve(f"{name}-6", structs.replace(ONE, patience_ns=S // 2))
        assert isinstance(late, Refused)
        assert late.cause is Cause.DEADLINE

    run(test)


def test_a_waiter_that_is_withdrawn_takes_nothing_and_a_granted_one_is_not_withdrawn(run: Run) -> None:
    async def test(store: ProcessStore, waits: Waits, name: str) -> None:
        for number in range(4):
            await store.reserve(f"{name}-{number}", ONE)
        assert isinstance(await store.withdraw("p", f"{name}-2"), Refused)
        assert await store.withdraw("p", f"{name}-0") is None
        await asyncio.sleep(1.3)
        assert waits.granted == [f"{name}-3"]

    run(test)


def test_a_lease_ends_once_and_what_was_not_used_is_free_again(run: Run) -> None:
    async def test(store: ProcessStore, waits: Waits, name: str) -> None:
        for number in range(4):
            await store.reserve(f"{name}-{number}", ONE)
        assert await store.end("p", f"{name}-0", Outcome.RELEASED) is True
        assert await store.end("p", f"{name}-0", Outcome.RELEASED) is False
        store.release("p", f"{name}-2")
        store.release("p", f"{name}-1")
        await asyncio.sleep(0.2)
        assert waits.granted in ([f"{name}-2", f"{name}-3"], [f"{name}-3"])
        await asyncio.sleep(1.2)
        (pool,) = await store.snapshot("p")
        assert (pool.in_flight, pool.waiting) == (1, 0)

    run(test)


def test_a_429_freezes_and_new_settings_admit(run: Run) -> None:
    async def test(store: ProcessStore, waits: Waits, name: str) -> None:
        await store.learn("p", RateLimited(5 * S))
        assert isinstance(await store.reserve(f"{name}-1", ONE), Wait)
        await asyncio.sleep(1.2)
        (queue,) = await store.queues()
        assert (queue.pool, queue.waiting) == ("p", 1)
        (pool,) = await store.snapshot("p")
        assert pool.frozen_seconds == pytest.approx(3.8, abs=1.2)
        await asyncio.sleep(5)
        assert waits.granted == [f"{name}-1"]
        faster = PoolSettings({Dimension.REQUESTS: LimitSettings(6_000, 50)})
        await store.configure("p", faster, "ann")
        assert store.settings_now("p") == faster
        assert store.set_at_runtime("p")["requests_per_minute"].by == "ann"

    run(test)


def test_pools_without_settings_and_unknown_pools(run: Run) -> None:
    async def test(store: ProcessStore, _waits: Waits, _name: str) -> None:
        assert store.pool_for("q") == "q"
        assert await store.snapshot("nobody") == ()
        assert store.settings_now("q") == PoolSettings()
        assert await store.wait_left("p", "x-1") is None

    run(test)
