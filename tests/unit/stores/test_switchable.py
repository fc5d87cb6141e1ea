"""A store that is replaced while calls wait."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import DEFAULT_CALLER, CallerLimits
from tidegate.core.domain.demand import GRANTED, Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import SwitchableStore

if TYPE_CHECKING:
    from tidegate.stores.switchable import ProcessStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
ONE_AT_A_TIME = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=1)})
Make = Callable[[], MemoryStore]


@pytest.fixture
def make() -> Make:
    clock = VirtualClock()
    return lambda: MemoryStore(clock, {"p": ONE_AT_A_TIME})


def test_steps_and_changes_are_those_of_the_present_store(make: Make) -> None:
    first, second = make(), make()
    store, changes = SwitchableStore(first), list[Change]()
    stop = store.watch(changes.append)
    assert store.try_admit("a", ONE)
    store.switch(second)
    assert store.present is second
    first.learn_now("p", RateLimited(S))
    assert changes == [], "the store that was replaced is not heard"
    assert store.try_admit("b", ONE)
    store.learn_now("p", RateLimited(S))
    assert len(changes) == 1
    stop()
    stop()
    store.learn_now("p", RateLimited(S))
    assert len(changes) == 1


async def _use(store: "ProcessStore") -> list[object]:
    """Calls every method once. Returns the results."""
    store.set_initial("p", ONE_AT_A_TIME)
    results: list[object] = [
        store.pool_for("p"),
        await store.reserve("a", ONE),
        await store.reserve("b", ONE),
        await store.wait_left("p", "b"),
        await store.queues(),
        await store.withdraw("p", "b"),
    ]
    await store.charge("p", "a", Cost(2))
    results.append(await store.end("p", "a", Outcome.SETTLED, Cost(2)))
    store.release("p", "unknown")
    await store.learn("p", RateLimited(S))
    await store.configure("p", ONE_AT_A_TIME, "ann")
    store.configure_now("p", PoolSettings(), "ben")
    results += [store.set_at_runtime("p"), store.settings_now("p")]
    store.limit_callers({"default": CallerLimits(requests_per_minute=1)})
    store.reload({}, ONE_AT_A_TIME)
    store.advance("p")
    return [*results, await store.snapshot(), store.snapshot_now("p"), store.settings_now("q")]


def test_every_method_is_passed_on(make: Make) -> None:
    results = asyncio.run(_use(SwitchableStore(make())))
    assert results == asyncio.run(_use(make()))
    assert results[1] is GRANTED
