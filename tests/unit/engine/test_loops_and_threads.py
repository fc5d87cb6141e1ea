"""Several event loops, in threads or one after the other, share the one limit; a closed loop loses nothing."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec import structs

from support.recording_observer import RecordingObserver
from support.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.events import Withdrawn
from tidegate.core.domain.feedback import RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission, Lease
from tidegate.engine.clock import SystemClock
from tidegate.stores.memory import MemoryStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
AT_ONCE = structs.replace(ONE, settle_at_once=True)


def requests(per_minute: float, capacity: float) -> PoolSettings:
    return PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute, capacity)})


async def acquire_many(admission: Admission, number: int) -> list[Lease]:
    return await asyncio.gather(*(admission.acquire(ONE) for _ in range(number)))


def assert_nothing_is_left(admission: Admission) -> None:
    assert admission._waiters._leases == {}
    assert admission._waiters._loops == {}


def waiting_in(store: MemoryStore) -> int:
    return sum(pool.waiting for pool in store.snapshot_now("p"))


def wait_until(condition: Callable[[], bool]) -> None:
    """For what another thread does; gives up after 10 s."""
    give_up_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up_at, "the other thread did not get there"
        time.sleep(0.001)


def test_consecutive_runs_share_one_limit(admission: Admission, clock: VirtualClock) -> None:
    times_s = []
    for _ in range(3):
        run_virtual(acquire_many(admission, 3), clock)
        times_s.append(clock.elapsed_s)
    assert times_s == [0.0, 3.0, 12.0]
    assert_nothing_is_left(admission)


def test_loops_in_threads_share_one_limit() -> None:
    clock = SystemClock()
    admission = Admission(MemoryStore(clock, {"p": requests(per_minute=60_000, capacity=5)}), clock)
    started_ns = clock.monotonic_ns()

    def one_loop() -> list[Lease]:
        return asyncio.run(asyncio.wait_for(acquire_many(admission, 20), timeout=20))

    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(one_loop) for _ in range(4)]
        leases = [lease for run in runs for lease in run.result(timeout=30)]
    elapsed_s = to_seconds(clock.monotonic_ns() - started_ns)
    assert len({lease.id for lease in leases}) == 80
    assert elapsed_s >= 0.075, "1,000 a second after a burst of 5"
    assert_nothing_is_left(admission)


def test_a_lease_ended_in_one_thread_wakes_the_waiter_in_another() -> None:
    clock = SystemClock()
    store = MemoryStore(clock, {"p": requests(per_minute=1, capacity=1)})
    admission = Admission(store, clock)
    lease = asyncio.run(admission.acquire(ONE))
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(asyncio.run, asyncio.wait_for(admission.acquire(ONE), timeout=20))
        wait_until(lambda: waiting_in(store) == 1)
        assert asyncio.run(lease.end(Outcome.RELEASED))
        assert waiting.result(timeout=30).waited_ns > 0
    assert_nothing_is_left(admission)


def test_configuring_from_another_thread_frees_the_waiter() -> None:
    clock = SystemClock()
    store = MemoryStore(clock, {"p": requests(per_minute=1, capacity=1)})
    admission = Admission(store, clock)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(asyncio.run, asyncio.wait_for(acquire_many(admission, 3), timeout=20))
        wait_until(lambda: waiting_in(store) == 2)
        store.configure_now("p", requests(per_minute=60_000, capacity=1))
        assert len(waiting.result(timeout=30)) == 3
    assert_nothing_is_left(admission)


def test_waiting_costs_no_thread(admission: Admission, clock: VirtualClock) -> None:
    async def main() -> None:
        before = threading.active_count()
        waiting = asyncio.gather(*(admission.acquire(ONE) for _ in range(100)))
        await asyncio.sleep(1)
        assert threading.active_count() == before
        await waiting

    run_virtual(main(), clock)


class TestClosedLoop:
    """A loop that closes without ending its tasks leaves waiters in the queue."""

    @pytest.fixture
    def left_behind(self, admission: Admission, clock: VirtualClock) -> asyncio.Task[list[Lease]]:
        """Five leases and two waiters of a loop that is closed."""
        loop = VirtualTimeLoop(clock)
        task = loop.create_task(acquire_many(admission, 7))
        loop.run_until_complete(asyncio.sleep(0.5))
        loop.close()
        return task

    def test_loses_no_quota(
        self,
        admission: Admission,
        store: MemoryStore,
        clock: VirtualClock,
        left_behind: asyncio.Task[list[Lease]],
    ) -> None:
        run_virtual(admission.acquire(ONE), clock)
        assert clock.elapsed_s == 3.0, "the two who cannot take their grants give them back at once"
        assert store.snapshot_now("p")[0].in_flight == 6
        assert store.snapshot_now("p")[0].waiting == 0
        assert_nothing_is_left(admission)
        assert not left_behind.done()

    def test_hinders_no_other_loop(
        self, admission: Admission, store: MemoryStore, left_behind: asyncio.Task[list[Lease]]
    ) -> None:
        store.learn_now("p", RateLimited(1))
        assert admission._waiters._loops == {}, "forgotten as soon as it is found closed"
        assert not left_behind.done()

    @pytest.mark.parametrize("demand", [ONE, AT_ONCE])
    def test_what_was_left_there_is_given_back_once(
        self, admission: Admission, store: MemoryStore, clock: VirtualClock, demand: Demand
    ) -> None:
        """Also when the coroutines that waited are collected later."""
        loop = VirtualTimeLoop(clock)
        tasks = [loop.create_task(admission.acquire(demand)) for _ in range(10)]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        store.learn_now("p", RateLimited(1))
        assert waiting_in(store) == 0
        before = store.snapshot_now("p")[0].dimensions[0].available
        del tasks, loop
        gc.collect()
        run_virtual(asyncio.sleep(0), clock)
        assert store.snapshot_now("p")[0].dimensions[0].available == before == 0

    def test_a_waiter_that_was_refused_in_a_closed_loop_gives_nothing_back(
        self, admission: Admission, store: MemoryStore, clock: VirtualClock
    ) -> None:
        loop = VirtualTimeLoop(clock)
        tasks = [loop.create_task(admission.acquire(AT_ONCE)) for _ in range(7)]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        store.learn_now("p", SpendCapped())
        assert store.snapshot_now("p")[0].dimensions[0].available == 0
        assert [task.done() for task in tasks] == [True] * 5 + [False] * 2


class TestCollected:
    """A coroutine that is collected while it waits may interrupt anything: it takes no lock."""

    @staticmethod
    def wait(admission: Admission, demand: Demand) -> Coroutine[object, object, Lease]:
        """An acquire that waits without a task."""
        waiting = admission.acquire(demand)
        waiting.send(None)
        return waiting

    @pytest.mark.parametrize("demand", [ONE, AT_ONCE])
    def test_it_gives_back_at_the_next_step(
        self, admission: Admission, store: MemoryStore, observer: RecordingObserver, clock: VirtualClock, demand: Demand
    ) -> None:
        async def main() -> None:
            for _ in range(5):
                await admission.acquire(demand)
            first, second = self.wait(admission, demand), self.wait(admission, demand)
            clock.advance(3)
            store.advance("p")
            with store._lock, admission._waiters._lock:  # whoever was interrupted
                with ThreadPoolExecutor(1) as threads:
                    threads.submit(first.close).result(timeout=10)
                second.close()
            assert waiting_in(store) == 1
            await admission.acquire(demand)

        run_virtual(main(), clock)
        assert clock.elapsed_s == 3.0, "what was granted went to the next"
        assert waiting_in(store) == 0
        assert observer.of(Withdrawn) == []
        assert_nothing_is_left(admission)

    def test_a_change_is_a_step_as_well(self, admission: Admission, store: MemoryStore, clock: VirtualClock) -> None:
        async def main() -> None:
            for _ in range(5):
                await admission.acquire(ONE)
            self.wait(admission, ONE).close()
            store.learn_now("p", RateLimited(1))

        run_virtual(main(), clock)
        assert waiting_in(store) == 0


class TestOverflow:
    """More pools than the store keeps: further names share one."""

    @pytest.fixture
    def store(self, clock: VirtualClock) -> MemoryStore:
        store = MemoryStore(
            clock, otherwise=PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=1)})
        )
        for n in range(200):
            store.learn_now(f"used-{n}", Succeeded())
        return store

    def test_a_waiter_in_the_overflow_pool_is_woken(self, admission: Admission, clock: VirtualClock) -> None:
        async def main() -> list[str]:
            return [(await admission.acquire(structs.replace(ONE, pool=name))).pool for name in ("new-1", "new-2")]

        assert run_virtual(main(), clock) == ["other-models"] * 2
        assert clock.elapsed_s == 3.0

    def test_a_lease_is_found_once_its_name_has_a_pool(
        self, admission: Admission, store: MemoryStore, clock: VirtualClock
    ) -> None:
        async def main() -> None:
            lease = await admission.acquire(structs.replace(ONE, pool="new"))
            store.configure_now("new", PoolSettings())
            assert await lease.end(Outcome.RELEASED)

        run_virtual(main(), clock)
        assert admission.try_acquire(structs.replace(ONE, pool="newer")) is not None, "it was given back"
        assert admission.try_acquire(structs.replace(ONE, pool="new")) is not None
        assert not admission.try_admit(structs.replace(ONE, pool="newest"))
