"""A store that another process holds: its calls are admitted as if they had the store themselves."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from support.memory_channel import NONE, Connection, Faults, connect
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission
from tidegate.stores.memory import MemoryStore
from tidegate.stores.remote.leader import Leader

if TYPE_CHECKING:
    from tidegate.engine.waiting import Waiting

TWENTY = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5)})
ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
SLOW = Faults(delay_seconds=0.01)


class Processes:
    """A process that leads, with calls of its own, and one that follows."""

    def __init__(self, clock: VirtualClock, faults: Faults = NONE, resend_seconds: float = 1.0) -> None:
        self.clock = clock
        self.store = MemoryStore(clock, {"p": TWENTY})
        self.store.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
        self.leading = Admission(self.store, clock)
        self.leader = Leader(self.store, "leader")
        self.following, self.connection = self.join(faults, resend_seconds)

    def join(self, faults: Faults = NONE, resend_seconds: float = 1.0) -> tuple[Admission, Connection]:
        """Another process that follows."""
        placeholder = Admission(MemoryStore(self.clock), self.clock)
        connection = connect(self.leader, self.store, placeholder.replica, faults, resend_seconds=resend_seconds)
        admission = Admission(connection.follower, self.clock)
        admission.replica = placeholder.replica
        return admission, connection

    @property
    def in_flight(self) -> int:
        (pool,) = self.store.snapshot_now("p")
        return pool.in_flight

    @property
    def waiting(self) -> int:
        (pool,) = self.store.snapshot_now("p")
        return pool.waiting


def run(main: Callable[[Processes], Coroutine[Any, Any, None]], faults: Faults = NONE) -> None:
    clock = VirtualClock()

    async def begin() -> None:
        processes = Processes(clock, faults)
        await main(processes)
        processes.connection.end()

    run_virtual(begin(), clock)


async def times_of(admission: Admission, clock: VirtualClock, count: int) -> list[tuple[int, float]]:
    """The names and times of the admitted calls, in the order of admission."""
    admitted: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await admission.acquire(ONE)
        admitted.append((number, round(clock.elapsed_s, 2)))

    await asyncio.gather(*(one(number) for number in range(count)))
    return admitted


@pytest.mark.parametrize(("faults", "late"), [(NONE, 0.0), (SLOW, 0.02)])
def test_twenty_at_once_five_go_then_one_every_three_seconds_in_order(faults: Faults, late: float) -> None:
    async def main(on: Processes) -> None:
        admitted = await times_of(on.following, on.clock, 20)
        # A call is asked for one way late, and told of its grant one way late.
        assert [number for number, _ in admitted] == [*range(20)]
        assert [at for _, at in admitted[:5]] == pytest.approx([late] * 5)
        assert [at for _, at in admitted[5:]] == pytest.approx([3.0 * (n + 1) + late for n in range(15)], abs=0.011)

    run(main, faults)


def test_calls_of_both_processes_share_one_limit_and_take_turns() -> None:
    async def main(on: Processes) -> None:
        ours = structs.replace(ONE, caller=Caller("ours"))
        theirs = structs.replace(ONE, caller=Caller("theirs"))
        order: list[str] = []

        async def one(admission: Admission, demand: Demand) -> None:
            await admission.acquire(demand)
            order.append(demand.caller.name)

        await asyncio.gather(
            *(one(on.leading, ours) for _ in range(8)),
            *(one(on.following, theirs) for _ in range(8)),
        )
        assert on.clock.elapsed_s == pytest.approx(33), "11 of 16 have waited for 3 s each"
        assert {*order[5:7]} == {*order[7:9]} == {*order[9:11]} == {"ours", "theirs"}

    run(main)


def test_what_ends_is_given_back_to_the_next_in_the_other_process() -> None:
    async def main(on: Processes) -> None:
        leases = [await on.following.acquire(ONE) for _ in range(5)]
        waiting = asyncio.create_task(on.leading.acquire(ONE))
        await asyncio.sleep(0)
        assert await leases[0].end(Outcome.RELEASED)
        assert not await leases[0].end(Outcome.SETTLED, Cost(4)), "it ends once"
        await waiting
        assert on.clock.elapsed_s == 0

    run(main)


def test_charges_and_feedback_reach_the_pool() -> None:
    async def main(on: Processes) -> None:
        lease = await on.following.acquire(ONE)
        await lease.charge(Cost(3))
        await on.following.store.learn("p", RateLimited(10 * S))
        await asyncio.sleep(0.1)
        (pool,) = on.store.snapshot_now("p")
        assert (round(pool.frozen_seconds, 1), pool.rate_limited) == (9.9, 1)
        assert not on.following.store.try_admit("any", ONE)

    run(main)


def test_settings_that_are_configured_by_a_follower_hold_everywhere() -> None:
    async def main(on: Processes) -> None:
        faster = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=5)})
        await on.following.store.configure("p", faster)
        admitted = await times_of(on.leading, on.clock, 7)
        assert [at for _, at in admitted[5:]] == [1.0, 2.0]

    run(main)


def test_a_call_that_leaves_the_queue_makes_room() -> None:
    async def main(on: Processes) -> None:
        for _ in range(5):
            await on.following.acquire(ONE)
        impatient = structs.replace(ONE, patience_ns=10 * S)
        leaving = [asyncio.create_task(on.following.acquire(impatient)) for _ in range(2)]
        staying = asyncio.create_task(on.following.acquire(ONE))
        await asyncio.sleep(1)
        assert on.waiting == 3
        for task in leaving:
            task.cancel()
        await staying
        assert on.clock.elapsed_s == 3
        assert on.waiting == 0

    run(main)


def test_patience_ends_with_the_leaders_reason() -> None:
    async def main(on: Processes) -> None:
        for _ in range(5):
            await on.following.acquire(ONE)
        await on.following.store.learn("p", RateLimited(100 * S))
        with pytest.raises(Refusal) as raised:
            await on.following.acquire(structs.replace(ONE, patience_ns=S))
        assert raised.value.cause is Cause.DEADLINE

    run(main)


def test_a_wait_that_becomes_too_long_is_withdrawn() -> None:
    async def main(on: Processes) -> None:
        for _ in range(5):
            await on.following.acquire(ONE)
        waiting = asyncio.create_task(on.following.acquire(structs.replace(ONE, patience_ns=4 * S)))
        await asyncio.sleep(1)
        await on.following.store.learn("p", RateLimited(100 * S))
        with pytest.raises(Refusal) as raised:
            await waiting
        assert raised.value.cause is Cause.DEADLINE
        assert on.clock.elapsed_s == 4

    run(main)


def test_a_waiting_call_learns_its_place_and_status_comes_from_the_last_report() -> None:
    async def main(on: Processes) -> None:
        for _ in range(5):
            await on.following.acquire(ONE)
        waits: list[Waiting] = []
        tasks = [asyncio.create_task(on.following.acquire(ONE, waits.append)) for _ in range(3)]
        await asyncio.sleep(1.5)
        left = await waits[2].left()
        assert left is not None
        assert (left.place, left.waiting) == (3, 3)
        assert left.seconds == pytest.approx(7.5)
        store = on.following.store
        (pool,) = await store.snapshot("p")
        (queue,) = await store.queues()
        assert (pool.waiting, queue.waiting) == (3, 3)
        assert await store.snapshot("unknown") == ()
        await asyncio.gather(*tasks)
        assert await waits[2].left() is None

    run(main)


class TestLoss:
    def test_without_its_leader_a_follower_refuses_calls_and_ends_leases(self) -> None:
        async def main(on: Processes) -> None:
            leases = [await on.following.acquire(ONE) for _ in range(5)]
            waiting = asyncio.create_task(on.following.acquire(ONE))
            await asyncio.sleep(1)
            asking = asyncio.create_task(on.following.store.reserve("asking", ONE))
            withdrawing = asyncio.create_task(on.following.store.withdraw("p", "any"))
            await asyncio.sleep(0)
            on.connection.end()
            with pytest.raises(Refusal) as raised:
                await waiting
            assert raised.value.cause is Cause.STORE_UNAVAILABLE
            assert await asking == await withdrawing == Refused(Cause.STORE_UNAVAILABLE)
            with pytest.raises(Refusal):
                await on.following.acquire(ONE)
            assert await leases[0].end(Outcome.SETTLED)
            assert await on.following.store.withdraw("p", "any") == Refused(Cause.STORE_UNAVAILABLE)
            assert on.clock.elapsed_s == 1

        run(main)

    def test_the_waits_and_leases_of_a_lost_follower_end(self) -> None:
        async def main(on: Processes) -> None:
            for _ in range(5):
                await on.following.acquire(ONE)
            theirs = asyncio.create_task(on.following.acquire(ONE))
            await asyncio.sleep(0.5)
            ours = asyncio.create_task(on.leading.acquire(ONE))
            await asyncio.sleep(0.5)
            assert (on.in_flight, on.waiting) == (5, 2)
            on.connection.end()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (on.in_flight, on.waiting) == (0, 1)
            await ours
            assert on.clock.elapsed_s == 3, "what was spent stays spent"
            with pytest.raises(Refusal):
                await theirs
            await asyncio.wait_for(on.leader.until_idle(), 1)

        run(main)


@given(
    st.builds(
        Faults,
        delay_seconds=st.floats(0, 0.2),
        jitter_seconds=st.floats(0, 0.5),
        lost=st.floats(0, 0.4),
        repeated=st.floats(0, 0.4),
        seed=st.integers(0, 2**16),
    ),
    st.lists(st.sampled_from(["settle", "release", "cancel", "wait"]), min_size=1, max_size=30),
)
def test_each_call_ends_and_leaves_nothing_whatever_the_channel_loses(faults: Faults, ends: list[str]) -> None:
    """With a channel that loses, delays and repeats, all calls get an answer, and the limit holds."""

    async def main(on: Processes) -> None:
        granted: list[float] = []

        async def one(number: int, end: str) -> None:
            await asyncio.sleep(number * 0.1)
            if end == "cancel":
                with contextlib.suppress(TimeoutError):
                    lease = await asyncio.wait_for(on.following.acquire(ONE), 0.05 * number)
                    await lease.end(Outcome.ABANDONED)
                return
            lease = await on.following.acquire(ONE)
            granted.append(on.clock.elapsed_s)
            await asyncio.sleep(1)
            await lease.end(Outcome.SETTLED if end == "settle" else Outcome.RELEASED, ONE_REQUEST)

        await asyncio.gather(*(one(number, end) for number, end in enumerate(ends)))
        async with asyncio.timeout(60):
            while on.in_flight or on.waiting:  # noqa: ASYNC110 - there is no event; what was lost is sent again
                await asyncio.sleep(1)
        (pool,) = on.store.snapshot_now("p")
        assert pool.granted >= len(granted)

    run(main, faults)


def test_steps_that_are_lost_are_sent_again_after_a_second() -> None:
    async def main(on: Processes) -> None:
        on.connection.to_leader._faults = Faults(lost=1.0)
        asking = asyncio.create_task(on.following.store.reserve("a-1", ONE))
        await asyncio.sleep(0.5)
        on.connection.to_leader._faults = NONE
        await asking
        assert on.clock.elapsed_s == 1
        assert on.in_flight == 1

    run(main)


def test_a_grant_that_was_lost_is_noticed_by_the_next_report() -> None:
    async def main(on: Processes) -> None:
        for _ in range(5):
            await on.following.acquire(ONE)
        waiting = asyncio.create_task(on.following.acquire(ONE))
        await asyncio.sleep(2.5)
        on.connection.to_follower._faults = Faults(lost=1.0)
        await asyncio.sleep(1)
        assert (on.in_flight, on.waiting, waiting.done()) == (6, 0, False)
        on.connection.to_follower._faults = NONE
        await waiting
        assert on.clock.elapsed_s < 5

    run(main)


def test_a_repeated_wait_answers_nothing() -> None:
    async def main(on: Processes) -> None:
        results = [await on.following.store.reserve(f"{on.following.replica}-x{n}", ONE) for n in range(6)]
        assert isinstance(results[-1], Wait)

    run(main)
