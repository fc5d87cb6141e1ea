"""Waiting for admission, with exact times."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from support.recording_observer import RecordedScope, RecordingObserver
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome, Refused
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import (
    Admitted,
    Frozen,
    LeaseEnded,
    Queued,
    RateChanged,
    RefusedCall,
    Thawed,
    Withdrawn,
)
from tidegate.core.domain.feedback import RateLimited, SpendCapped
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.observer import ScopeKind
from tidegate.engine.admission import Admission
from tidegate.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tidegate.core.ports.store import Change
    from tidegate.engine.waiting import Waiting

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
AT_ONCE = structs.replace(ONE, settle_at_once=True)
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5)}, AdaptiveSettings())


async def times_of(admission: Admission, clock: VirtualClock, demands: list[Demand]) -> list[tuple[int, float]]:
    """The names and times of the admitted, in the order of admission."""
    admitted: list[tuple[int, float]] = []

    async def one(number: int, demand: Demand) -> None:
        await admission.acquire(demand)
        admitted.append((number, clock.elapsed_s))

    await asyncio.gather(*(one(number, demand) for number, demand in enumerate(demands)))
    return admitted


def assert_nothing_is_left(admission: Admission) -> None:
    assert admission._waiters._leases == {}
    assert admission._waiters._loops == {}


@pytest.mark.parametrize("demand", [ONE, AT_ONCE])
def test_twenty_at_once_five_go_then_one_every_three_seconds_in_order(
    admission: Admission, clock: VirtualClock, demand: Demand
) -> None:
    admitted = run_virtual(times_of(admission, clock, [demand] * 20), clock)
    assert admitted == [(number, 0.0) for number in range(5)] + [(5 + n, 3.0 * (n + 1)) for n in range(15)]
    assert_nothing_is_left(admission)


def test_without_an_observer_who_waits_is_admitted_all_the_same(store: MemoryStore, clock: VirtualClock) -> None:
    admitted = run_virtual(times_of(Admission(store, clock), clock, [ONE] * 7), clock)
    assert admitted[5:] == [(5, 3.0), (6, 6.0)]


def test_a_scope_of_the_callers_own_gets_attributes_without_an_observer(
    store: MemoryStore, clock: VirtualClock, observer: RecordingObserver
) -> None:
    scope = RecordedScope(observer, ScopeKind.ACQUIRE, {})

    async def main() -> None:
        admission = Admission(store, clock)
        for _ in range(6):
            await admission.acquire(ONE, scope=scope)

    run_virtual(main(), clock)
    assert scope.attributes == {"tidegate.binding": Dimension.REQUESTS, "tidegate.wait_seconds": 3.0}


def test_a_lease_says_what_it_is(admission: Admission, clock: VirtualClock) -> None:
    async def main() -> None:
        leases = [await admission.acquire(ONE) for _ in range(6)]
        assert len({lease.id for lease in leases}) == 6
        assert [lease.waited_ns for lease in leases] == [0] * 5 + [3 * S]
        assert (leases[0].pool, leases[0].demand) == ("p", ONE)

    run_virtual(main(), clock)


def test_leases_of_two_processes_never_share_an_id(store: MemoryStore, clock: VirtualClock) -> None:
    async def main() -> None:
        first = await Admission(store, clock).acquire(ONE)
        second = await Admission(store, clock).acquire(ONE)
        assert first.id != second.id

    run_virtual(main(), clock)


class TestLease:
    def test_ends_once(self, admission: Admission, store: MemoryStore, clock: VirtualClock) -> None:
        async def main() -> None:
            lease = await admission.acquire(ONE)
            assert await lease.end(Outcome.RELEASED)
            assert not await lease.end(Outcome.SETTLED, Cost(4))

        run_virtual(main(), clock)
        assert store.snapshot_now("p")[0].dimensions[0].available == 5

    def test_is_charged_on_the_way(self, admission: Admission, store: MemoryStore, clock: VirtualClock) -> None:
        async def main() -> None:
            await (await admission.acquire(ONE)).charge(Cost(3))

        run_virtual(main(), clock)
        assert store.snapshot_now("p")[0].dimensions[0].available == 2

    def test_left_behind_is_abandoned(
        self, admission: Admission, observer: RecordingObserver, clock: VirtualClock
    ) -> None:
        async def main() -> None:
            async with await admission.acquire(ONE):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run_virtual(main(), clock)
        assert [event.outcome for event in observer.of(LeaseEnded)] == ["abandoned"]

    def test_ended_inside_its_block_stays_as_it_ended(
        self, admission: Admission, observer: RecordingObserver, clock: VirtualClock
    ) -> None:
        async def main() -> None:
            async with await admission.acquire(ONE) as lease:
                await lease.end(Outcome.SETTLED)

        run_virtual(main(), clock)
        assert [event.outcome for event in observer.of(LeaseEnded)] == ["settled"]


class TestPatience:
    def test_a_wait_known_to_be_too_long_is_refused_at_once(self, admission: Admission, clock: VirtualClock) -> None:
        async def main() -> None:
            await times_of(admission, clock, [ONE] * 5)
            with pytest.raises(Refusal, match=r"the wait for pool 'p' would be longer than the request may") as refused:
                await admission.acquire(structs.replace(ONE, patience_ns=S))
            assert (refused.value.cause, refused.value.retry_after_seconds) == (Cause.DEADLINE, 2.0)

        run_virtual(main(), clock)
        assert clock.elapsed_s == 0
        assert_nothing_is_left(admission)

    def test_a_wait_that_becomes_too_long_ends_at_the_deadline(
        self, admission: Admission, observer: RecordingObserver, clock: VirtualClock, store: MemoryStore
    ) -> None:
        async def main() -> None:
            await times_of(admission, clock, [ONE] * 5)
            asyncio.get_running_loop().call_later(1, store.learn_now, "p", RateLimited(60 * S))
            with pytest.raises(Refusal) as refused:
                await admission.acquire(structs.replace(ONE, patience_ns=4 * S))
            assert (refused.value.cause, refused.value.retry_after_seconds) == (Cause.DEADLINE, 57.0)

        run_virtual(main(), clock)
        assert clock.elapsed_s == 4
        assert store.snapshot_now("p")[0].waiting == 0
        assert observer.of(Withdrawn) == [Withdrawn("p", DEFAULT_CALLER, 4 * S)]
        assert observer.of(RefusedCall) == [RefusedCall("p", DEFAULT_CALLER, Cause.DEADLINE)]
        assert_nothing_is_left(admission)

    def test_a_grant_at_the_very_end_counts(self, admission: Admission, clock: VirtualClock) -> None:
        # Grant and timeout fall on the same instant, and the grant is first.
        patient = [ONE] * 5 + [structs.replace(ONE, patience_ns=3 * S)]
        assert run_virtual(times_of(admission, clock, patient), clock)[5] == (5, 3.0)
        assert_nothing_is_left(admission)

    def test_a_grant_counts_that_a_busy_loop_notices_together_with_the_deadline(
        self, admission: Admission, store: MemoryStore, clock: VirtualClock
    ) -> None:
        async def main() -> int:
            await times_of(admission, clock, [ONE] * 5)
            loop = asyncio.get_running_loop()
            loop.call_later(1, store.learn_now, "p", RateLimited(3 * S))
            loop.call_later(3.2, clock.advance, 4)  # the deadline at 3.5 s and the grant at 4 s are both due then
            return (await admission.acquire(structs.replace(ONE, patience_ns=7 * S // 2))).waited_ns

        assert run_virtual(main(), clock) == round(7.2 * S)
        assert_nothing_is_left(admission)


class TestRefusals:
    def test_a_full_queue(self, clock: VirtualClock) -> None:
        admission = Admission(MemoryStore(clock, {"p": self.settings(max_waiting=0)}), clock)

        async def main() -> None:
            await admission.acquire(ONE)
            with pytest.raises(Refusal, match=r"^the queue of pool 'p' is full: 0 requests wait already$") as refused:
                await admission.acquire(ONE)
            assert (refused.value.cause, refused.value.retry_after_seconds) == (Cause.QUEUE_FULL, 3.0)

        run_virtual(main(), clock)
        assert_nothing_is_left(admission)

    def test_more_than_can_ever_be(self, clock: VirtualClock) -> None:
        admission = Admission(MemoryStore(clock, {"p": self.settings(allow_debt=False)}), clock)
        with pytest.raises(Refusal, match=r"^the request needs more requests than pool 'p' can ever hold$") as refused:
            run_virtual(admission.acquire(structs.replace(ONE, cost=Cost(2))), clock)
        assert refused.value.cause is Cause.COST_EXCEEDS_CAPACITY
        assert (refused.value.dimension, refused.value.retry_after_seconds) == (Dimension.REQUESTS, None)

    @pytest.mark.parametrize(
        ("limit", "named"),
        [
            ("requests_per_minute", "requests_per_minute = 0.5"),
            ("input_tokens_per_minute", "input_tokens_per_minute = 2,000,000"),
            ("max_concurrent", "max_concurrent = 3"),
        ],
    )
    def test_a_callers_own_limit_is_named_with_its_number(self, limit: str, named: str, clock: VirtualClock) -> None:
        class AtTheLimit(MemoryStore):
            async def reserve(self, lease_id: str, demand: Demand) -> Refused:
                del lease_id, demand
                return Refused(Cause.CALLER_LIMIT, 7 * S, limit=limit)

        limits = CallerLimits(requests_per_minute=0.5, input_tokens_per_minute=2_000_000.0, max_concurrent=3)
        demand = structs.replace(ONE, caller=Caller("web", label="web", limits=limits))
        with pytest.raises(Refusal) as refused:
            run_virtual(Admission(AtTheLimit(clock), clock).acquire(demand), clock)
        assert (
            str(refused.value) == f"caller 'web' is over its own limit ({named}) for longer than the request may take"
        )
        assert (refused.value.cause, refused.value.retry_after_seconds) == (Cause.CALLER_LIMIT, 7.0)

    @staticmethod
    def settings(*, max_waiting: int = 10, allow_debt: bool = True) -> PoolSettings:
        limits = {Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=1)}
        return PoolSettings(limits, caps=QueueCaps(max_waiting), allow_debt=allow_debt)


class TestChangesWhileWaiting:
    def test_a_faster_rate_counts_at_once(self, admission: Admission, clock: VirtualClock, store: MemoryStore) -> None:
        async def main() -> list[tuple[int, float]]:
            limits = {Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=5)}
            asyncio.get_running_loop().call_later(1.5, store.configure_now, "p", PoolSettings(limits))
            return await times_of(admission, clock, [ONE] * 8)

        assert run_virtual(main(), clock)[5:] == [(5, 2.0), (6, 3.0), (7, 4.0)]

    def test_a_slower_rate_counts_at_once(self, admission: Admission, clock: VirtualClock, store: MemoryStore) -> None:
        async def main() -> list[tuple[int, float]]:
            limits = {Dimension.REQUESTS: LimitSettings(per_minute=10, capacity=5)}
            asyncio.get_running_loop().call_later(1.5, store.configure_now, "p", PoolSettings(limits))
            return await times_of(admission, clock, [ONE] * 7)

        assert run_virtual(main(), clock)[5:] == [(5, 4.5), (6, 10.5)]

    def test_a_freeze_holds_everybody(self, admission: Admission, clock: VirtualClock, store: MemoryStore) -> None:
        async def main() -> list[tuple[int, float]]:
            asyncio.get_running_loop().call_later(1, store.learn_now, "p", RateLimited(10 * S))
            return await times_of(admission, clock, [ONE] * 7)

        store.configure_now("p", ADAPTIVE)
        # 20 a minute for 1 s, then 18 a minute: 3.3 tokens at the thaw.
        assert run_virtual(main(), clock)[5:] == [(5, 11.0), (6, 11.0)]

    def test_quota_that_is_given_back_goes_to_the_next_at_once(self, admission: Admission, clock: VirtualClock) -> None:
        async def main() -> float:
            first, *_ = [await admission.acquire(ONE) for _ in range(5)]
            waiting = asyncio.ensure_future(admission.acquire(ONE))
            await asyncio.sleep(1)
            await first.end(Outcome.RELEASED)
            await waiting
            return clock.elapsed_s

        assert run_virtual(main(), clock) == 1.0

    def test_a_request_that_returns_after_a_429_goes_first(self, admission: Admission, clock: VirtualClock) -> None:
        demands = [ONE] * 7 + [structs.replace(ONE, front=True)]
        assert run_virtual(times_of(admission, clock, demands), clock)[5:] == [(7, 3.0), (5, 6.0), (6, 9.0)]


def test_callers_take_turns(admission: Admission, clock: VirtualClock) -> None:
    greedy, modest = Caller("greedy"), Caller("modest")
    demands = [structs.replace(ONE, caller=greedy)] * 9 + [structs.replace(ONE, caller=modest)] * 2
    admitted = run_virtual(times_of(admission, clock, demands), clock)
    assert [number for number, _ in admitted[5:]] == [5, 9, 6, 10, 7, 8]


def test_a_predicted_wait_is_reported(admission: Admission, clock: VirtualClock) -> None:
    async def main() -> list[float]:
        waits: list[Waiting] = []
        await asyncio.gather(*(admission.acquire(ONE, on_wait=waits.append) for _ in range(8)))
        assert [await waiting.left() for waiting in waits] == [None] * 3
        return [waiting.predicted_seconds for waiting in waits]

    assert run_virtual(main(), clock) == [3.0, 6.0, 9.0]


def test_the_observer_hears_of_waits(admission: Admission, observer: RecordingObserver, clock: VirtualClock) -> None:
    run_virtual(times_of(admission, clock, [AT_ONCE] * 6), clock)
    settled = LeaseEnded("p", DEFAULT_CALLER, "settled", ONE_REQUEST, ONE_REQUEST)
    assert observer.events == [
        *[settled, Admitted("p", DEFAULT_CALLER, ONE_REQUEST, 0)] * 5,
        Queued("p", DEFAULT_CALLER, ONE_REQUEST, 3 * S),
        settled,
        Admitted("p", DEFAULT_CALLER, ONE_REQUEST, 3 * S),
    ]


def test_a_wait_for_a_limit_of_the_callers_own_is_reported_as_such(
    admission: Admission, observer: RecordingObserver, clock: VirtualClock
) -> None:
    own = structs.replace(ONE, caller=Caller("narrow", limits=CallerLimits(max_concurrent=1)))

    async def main() -> None:
        first = await admission.acquire(own)
        second = asyncio.create_task(admission.acquire(own))
        await asyncio.sleep(20)
        await first.end(Outcome.SETTLED)
        await second

    run_virtual(main(), clock)
    assert [(event.waited_ns, event.is_own_limit) for event in observer.of(Admitted)] == [(0, False), (20 * S, True)]


def test_an_observer_that_traces_nothing_hears_of_waits_too(
    admission: Admission, observer: RecordingObserver, clock: VirtualClock
) -> None:
    observer.traces = False
    run_virtual(times_of(admission, clock, [ONE] * 6), clock)
    assert observer.of(Queued) == [Queued("p", DEFAULT_CALLER, ONE_REQUEST, 3 * S)]
    assert observer.scopes == []


def test_the_observer_hears_of_what_is_taken_at_once(admission: Admission, observer: RecordingObserver) -> None:
    observer.traces = False
    assert admission.try_admit(AT_ONCE)
    settled = LeaseEnded("p", DEFAULT_CALLER, "settled", ONE_REQUEST, ONE_REQUEST)
    assert observer.events == [settled, Admitted("p", DEFAULT_CALLER, ONE_REQUEST, 0)]


def test_what_is_traced_is_acquired(admission: Admission, store: MemoryStore) -> None:
    assert not admission.try_admit(AT_ONCE)
    assert store.snapshot_now("p")[0].granted == 0


def test_a_demand_that_is_not_admitted_at_once_is_not_reported(
    admission: Admission, observer: RecordingObserver
) -> None:
    observer.traces = False
    assert [admission.try_admit(AT_ONCE) for _ in range(6)] == [True] * 5 + [False]
    assert len(observer.of(Admitted)) == 5


def test_the_observer_hears_of_the_pool(
    admission: Admission, observer: RecordingObserver, clock: VirtualClock, store: MemoryStore
) -> None:
    store.configure_now("p", ADAPTIVE)
    store.learn_now("p", RateLimited(S))
    run_virtual(admission.acquire(ONE), clock)
    assert observer.events == [
        Frozen("p", S),
        RateChanged("p", Dimension.REQUESTS, 20, 18, "rate_limited"),
        Queued("p", DEFAULT_CALLER, ONE_REQUEST, S),
        Thawed("p"),
        Admitted("p", DEFAULT_CALLER, ONE_REQUEST, S),
    ]


@pytest.mark.parametrize("is_watched", [True, False])
def test_without_an_observer_no_lease_is_reported(
    store: MemoryStore,
    clock: VirtualClock,
    observer: RecordingObserver,
    is_watched: bool,  # noqa: FBT001
) -> None:
    changes: list[Change] = []
    store.watch(changes.append, leases=False)
    admission = Admission(store, clock, observer if is_watched else None)

    async def main() -> None:
        await (await admission.acquire(ONE)).end(Outcome.SETTLED)

    run_virtual(main(), clock)
    assert len(changes) == is_watched


def test_nobody_needs_to_listen(store: MemoryStore, clock: VirtualClock) -> None:
    admission = Admission(store, clock)

    async def main() -> None:
        await times_of(admission, clock, [ONE] * 6)
        store.learn_now("p", RateLimited(10 * S))
        with pytest.raises(Refusal):
            await admission.acquire(structs.replace(ONE, patience_ns=0))
        waiting = asyncio.ensure_future(admission.acquire(ONE))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    run_virtual(main(), clock)
    assert_nothing_is_left(admission)


class TestSpendCap:
    CAP = SpendCapped(3_600 * S)

    def test_a_waiter_is_refused_at_once_and_told_when_the_cap_ends(
        self, admission: Admission, clock: VirtualClock, store: MemoryStore, observer: RecordingObserver
    ) -> None:
        async def main() -> BaseException:
            for _ in range(5):
                await admission.acquire(ONE)
            waiting = asyncio.ensure_future(admission.acquire(ONE))
            await asyncio.sleep(1)
            store.learn_now("p", self.CAP)
            (refusal,) = await asyncio.gather(waiting, return_exceptions=True)
            assert isinstance(refusal, BaseException)
            return refusal

        refusal = run_virtual(main(), clock)
        assert isinstance(refusal, Refusal)
        assert (refusal.cause, refusal.retry_after_seconds, clock.elapsed_s) == (Cause.SPEND_CAP, 3_600, 1)
        assert "try again at 20" in str(refusal)
        assert str(refusal).endswith("UTC")
        assert observer.of(Withdrawn) == [Withdrawn("p", DEFAULT_CALLER, S)]
        assert [event.cause for event in observer.of(RefusedCall)] == [Cause.SPEND_CAP]
        assert_nothing_is_left(admission)

    def test_patience_that_ends_in_the_same_moment_changes_nothing(
        self, admission: Admission, clock: VirtualClock, store: MemoryStore
    ) -> None:
        async def main() -> Cause:
            for _ in range(5):
                await admission.acquire(ONE)
            now_s = asyncio.get_running_loop().time()
            asyncio.get_running_loop().call_at(now_s + 1, store.learn_now, "p", RateLimited(10 * S))
            asyncio.get_running_loop().call_at(now_s + 4, store.learn_now, "p", self.CAP)
            with pytest.raises(Refusal) as caught:
                await admission.acquire(structs.replace(ONE, patience_ns=4 * S))
            assert clock.elapsed_s == 4
            return caught.value.cause

        assert run_virtual(main(), clock) is Cause.SPEND_CAP
