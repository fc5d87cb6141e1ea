"""Whoever leaves whenever: those who stay are admitted as if the others had never come."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission
from tidegate.stores.memory import MemoryStore

BURST = 5
SPACING_S = 3.0
# Between the grants, which fall on multiples of 3 s; a cancellation in the instant of a grant has a test of its own.
LEAVING_S = st.none() | st.integers(0, 50).map(lambda seconds: seconds + 0.5)


def expected(leaving_s: list[float | None]) -> list[tuple[int, float]]:
    """The model: after the burst, each 3 s the first of those who still wait."""
    admitted = [(number, 0.0) for number in range(min(BURST, len(leaving_s)))]
    waiting = list(range(BURST, len(leaving_s)))
    now_s = SPACING_S
    while waiting:
        waiting = [number for number in waiting if (leaving_s[number] or 1e9) > now_s]
        if waiting:
            admitted.append((waiting.pop(0), now_s))
        now_s += SPACING_S
    return admitted


@given(leaving_s=st.lists(LEAVING_S, min_size=1, max_size=20), settle_at_once=st.booleans())
def test_cancelling_at_any_time_takes_nothing(leaving_s: list[float | None], *, settle_at_once: bool) -> None:
    clock = VirtualClock()
    store = MemoryStore(clock, {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(60 / SPACING_S, BURST)})})
    store.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
    admission = Admission(store, clock)
    demand = Demand("p", DEFAULT_CALLER, ONE_REQUEST, settle_at_once=settle_at_once)
    admitted: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await admission.acquire(demand)
        admitted.append((number, clock.elapsed_s))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one(number)) for number in range(len(leaving_s))]
        for task, seconds in zip(tasks, leaving_s, strict=True):
            if seconds is not None:
                loop.call_later(seconds, task.cancel)
        await asyncio.wait(tasks)

    run_virtual(main(), clock)
    assert admitted == expected(leaving_s)
    (pool,) = store.snapshot_now("p")
    assert (pool.waiting, pool.granted) == (0, len(admitted))
    assert pool.in_flight == (0 if settle_at_once else len(admitted))
    assert admission._waiters._leases == {}
    assert admission._waiters._loops == {}
