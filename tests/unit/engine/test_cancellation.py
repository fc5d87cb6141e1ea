"""A cancelled wait takes nothing, however it races with the grant."""

import asyncio

import pytest
from msgspec import structs

from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.events import Admitted, Withdrawn
from tidegate.engine.admission import Admission, Lease
from tidegate.engine.waiting import Waiting
from tidegate.stores.memory import MemoryStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
AT_ONCE = structs.replace(ONE, settle_at_once=True)


async def drained(admission: Admission, demand: Demand = ONE) -> tuple[list[Lease], asyncio.Task[Lease]]:
    """The five leases of the burst, and a sixth acquire that waits."""
    leases = [await admission.acquire(demand) for _ in range(5)]
    waiting = asyncio.get_running_loop().create_task(admission.acquire(demand))
    await asyncio.sleep(0)
    return leases, waiting


async def cancel(task: asyncio.Task[Lease]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def available(store: MemoryStore) -> float | None:
    return store.snapshot_now("p")[0].dimensions[0].available


def test_while_waiting(
    admission: Admission, store: MemoryStore, observer: RecordingObserver, clock: VirtualClock
) -> None:
    async def main() -> None:
        _, waiting = await drained(admission)
        await asyncio.sleep(1)
        await cancel(waiting)

    run_virtual(main(), clock)
    clock.advance(2)
    assert available(store) == 1
    assert store.snapshot_now("p")[0].in_flight == 5
    assert len(observer.of(Admitted)) == 5
    assert admission._waiters._leases == {}


@pytest.mark.parametrize("demand", [ONE, AT_ONCE])
def test_in_the_instant_of_the_grant(
    admission: Admission, store: MemoryStore, observer: RecordingObserver, clock: VirtualClock, demand: Demand
) -> None:
    async def main() -> None:
        _, waiting = await drained(admission, demand)
        clock.advance(3)
        store.advance("p")
        assert available(store) == 0, "granted"
        await cancel(waiting)

    run_virtual(main(), clock)
    assert available(store) == 1
    assert store.snapshot_now("p")[0].waiting == 0
    assert len(observer.of(Admitted)) == 5


def test_a_grant_that_is_given_back_goes_to_the_next(
    admission: Admission, store: MemoryStore, clock: VirtualClock
) -> None:
    async def main() -> float:
        _, first = await drained(admission)
        second = asyncio.get_running_loop().create_task(admission.acquire(ONE))
        await asyncio.sleep(0)
        clock.advance(3)
        store.advance("p")
        await cancel(first)
        await second
        return clock.elapsed_s

    assert run_virtual(main(), clock) == 3.0


def test_before_the_first_step(admission: Admission, store: MemoryStore, clock: VirtualClock) -> None:
    async def main() -> None:
        await cancel(asyncio.get_running_loop().create_task(admission.acquire(ONE)))

    run_virtual(main(), clock)
    store.advance("p")
    assert available(store) == 5


def test_the_head_leaving_sets_the_timer_for_the_next(admission: Admission, clock: VirtualClock) -> None:
    async def main() -> float:
        leases, big = await drained(admission, ONE)
        await cancel(big)
        waiting = asyncio.get_running_loop().create_task(admission.acquire(ONE))
        await asyncio.sleep(0)
        await leases[0].end(Outcome.SETTLED)
        await waiting
        return clock.elapsed_s

    assert run_virtual(main(), clock) == 3.0


def test_a_demand_whose_wait_cannot_be_reported_does_not_wait(
    admission: Admission, store: MemoryStore, observer: RecordingObserver, clock: VirtualClock
) -> None:
    def fail(_waiting: Waiting) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        _, waiting = await drained(admission)
        with pytest.raises(ZeroDivisionError):
            await admission.acquire(ONE, on_wait=fail)
        await waiting

    run_virtual(main(), clock)
    assert store.snapshot_now("p")[0].waiting == 0
    assert observer.of(Withdrawn) == []
