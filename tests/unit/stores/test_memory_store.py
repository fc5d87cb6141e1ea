"""The store in memory: pools by name, steps that tell of their changes, and threads."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Anomaly, Frozen, LeaseEnded, RateChanged, Thawed
from tidegate.core.domain.feedback import RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore

SETTINGS = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=1)}, AdaptiveSettings())
ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock, {"p": SETTINGS})


def heard_by(store: MemoryStore) -> list[Change]:
    changes: list[Change] = []
    store.watch(changes.append)
    return changes


def test_only_who_goes_first_sets_the_timers_anew(store: MemoryStore) -> None:
    changes = heard_by(store)
    assert store.reserve_now("a", ONE) == GRANTED
    assert changes == []
    assert store.reserve_now("b", ONE) == Wait(3 * S)
    assert store.reserve_now("c", ONE) == Wait(6 * S)
    assert changes == [Change("p", next_in_ns=3 * S)]
    assert store.reserve_now("back", structs.replace(ONE, front=True)) == Wait(3 * S)
    assert changes == [Change("p", next_in_ns=3 * S)] * 2


def test_time_admits_and_tells_who_and_when_next(store: MemoryStore, clock: VirtualClock) -> None:
    for lease_id in ("a", "b", "c"):
        store.reserve_now(lease_id, ONE)
    changes = heard_by(store)
    store.advance("p")
    clock.advance(3)
    store.advance("p")
    clock.advance(3)
    store.advance("p")
    store.advance("p")
    assert changes == [
        Change("p", next_in_ns=3 * S),
        Change("p", granted=("b",), next_in_ns=3 * S),
        Change("p", granted=("c",)),
    ]


class TestTakingAtOnce:
    """A demand that is settled at once needs no lease, and no round trip while nobody waits."""

    def test_it_is_spent_and_no_lease_is_left(self, store: MemoryStore) -> None:
        assert store.try_admit("", structs.replace(ONE, settle_at_once=True))
        (pool,) = store.snapshot_now("p")
        assert (pool.granted, pool.in_flight, pool.waiting, pool.dimensions[0].available) == (1, 0, 0, 0)
        assert pool.dimensions[0].used_share_1_minute == pytest.approx(1 / 20), "one of twenty a minute"

    def test_what_is_settled_later_has_a_lease(self, store: MemoryStore) -> None:
        assert store.try_admit("a", ONE)
        assert store.snapshot_now("p")[0].in_flight == 1
        assert store.end_now("p", "a", Outcome.RELEASED)
        assert store.try_admit("b", ONE), "it was given back"

    def test_a_retry_goes_the_way_of_retries(self, store: MemoryStore) -> None:
        assert not store.try_admit("a", structs.replace(ONE, retry=True))

    def test_a_demand_that_does_not_fit_has_no_effect(self, store: MemoryStore, clock: VirtualClock) -> None:
        changes = heard_by(store)
        assert store.try_admit("", ONE)
        clock.advance(2)
        before = store.snapshot_now("p")
        assert not store.try_admit("", ONE)
        assert store.snapshot_now("p") == before
        assert changes == []

    def test_waiters_are_not_overtaken(self, store: MemoryStore, clock: VirtualClock) -> None:
        assert store.try_admit("", ONE)
        store.reserve_now("waits", ONE)
        clock.advance(3)
        assert not store.try_admit("", ONE)

    def test_a_freeze_counts_and_its_end_is_told(self, store: MemoryStore, clock: VirtualClock) -> None:
        changes = heard_by(store)
        store.learn_now("p", RateLimited(S))
        assert not store.try_admit("", ONE)
        clock.advance(1)
        assert store.try_admit("", ONE)
        assert changes[0].events[0] == Frozen("p", S)
        assert changes[1:] == [Change("p", events=(Thawed("p"),))]

    @pytest.mark.parametrize("is_capped", [True, False])
    def test_a_spend_cap_counts(self, store: MemoryStore, is_capped: bool) -> None:  # noqa: FBT001
        if is_capped:
            store.learn_now("p", SpendCapped())
        assert store.try_admit("", ONE) is not is_capped

    def test_a_demand_that_can_never_fit_is_left_to_be_refused(self, store: MemoryStore) -> None:
        store.configure_now("p", replace(SETTINGS, allow_debt=False))
        assert not store.try_admit("", structs.replace(ONE, cost=Cost(2)))
        assert isinstance(store.reserve_now("big", structs.replace(ONE, cost=Cost(2))), Refused)


def test_quota_that_is_given_back_admits_in_the_same_step(store: MemoryStore) -> None:
    store.reserve_now("a", ONE)
    store.reserve_now("b", ONE)
    changes = heard_by(store)
    store.release("p", "a")
    ended = LeaseEnded("p", DEFAULT_CALLER, "released", ONE_REQUEST, Cost())
    assert changes == [Change("p", ("b",), (ended,))]
    assert not store.end_now("p", "a", Outcome.RELEASED)


def test_how_leases_end_is_told_as_long_as_anybody_wants_to_hear_it(store: MemoryStore) -> None:
    changes: list[Change] = []
    store.watch(changes.append, leases=False)

    def settle(pool: str) -> None:
        store.configure_now(pool, PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5)}))
        store.reserve_now("a", structs.replace(ONE, pool=pool))
        store.end_now(pool, "a", Outcome.SETTLED)

    settle("p")
    assert changes == [], "nothing is made for nobody"
    stop = store.watch(lambda _change: None)
    settle("p")
    settle("new")
    assert [type(event) for change in changes for event in change.events] == [LeaseEnded] * 2
    stop()
    settle("p")
    settle("newer")
    assert len(changes) == 2


def test_configuring_admits_in_the_same_step(store: MemoryStore) -> None:
    store.reserve_now("a", ONE)
    store.reserve_now("b", ONE)
    changes = heard_by(store)
    store.configure_now("p", PoolSettings())
    assert changes == [Change("p", ("b",), (RateChanged("p", Dimension.REQUESTS, 20, None, "configured"),))]


def test_withdrawing_returns_when_the_next_may_fit(store: MemoryStore) -> None:
    for lease_id in ("a", "b", "c"):
        store.reserve_now(lease_id, ONE)
    changes = heard_by(store)
    assert store.withdraw_now("p", "b") == Refused(Cause.DEADLINE, 6 * S)
    assert store.withdraw_now("p", "b") is None
    assert changes == [Change("p", next_in_ns=3 * S)] * 2


def test_a_429_is_told(store: MemoryStore) -> None:
    changes = heard_by(store)
    store.learn_now("p", RateLimited())
    assert changes == [Change("p", events=(RateChanged("p", Dimension.REQUESTS, 20, 18, "rate_limited"),))]


def test_releasing_a_waiter_withdraws_it(store: MemoryStore) -> None:
    store.reserve_now("a", ONE)
    store.reserve_now("b", ONE)
    store.release("p", "b")
    assert store.snapshot_now("p")[0].waiting == 0
    assert store.snapshot_now("p")[0].in_flight == 1


@pytest.mark.parametrize("seconds", [0, 3], ids=["that waits", "that was granted"])
def test_releasing_a_waiter_that_settles_at_once_takes_nothing(
    store: MemoryStore, clock: VirtualClock, seconds: float
) -> None:
    at_once = structs.replace(ONE, settle_at_once=True)
    store.reserve_now("a", at_once)
    store.reserve_now("b", at_once)
    clock.advance(seconds)
    store.advance("p")
    store.release("p", "b")
    (snapshot,) = store.snapshot_now("p")
    assert (snapshot.dimensions[0].available, snapshot.waiting) == (seconds / 3, 0)


def test_a_listener_that_stops_watching_hears_no_more(store: MemoryStore) -> None:
    first: list[Change] = []
    stop = store.watch(first.append)
    second = heard_by(store)
    stop()
    stop()
    store.learn_now("p", RateLimited(S))
    assert first == []
    assert len(second) == 1


def test_a_charge_counts(store: MemoryStore) -> None:
    store.reserve_now("a", ONE)
    store.charge_now("p", "a", Cost(3))
    (snapshot,) = store.snapshot_now("p")
    assert snapshot.dimensions[0].available == -2


class TestPools:
    def test_an_unknown_pool_comes_to_be_at_its_first_use(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, otherwise=SETTINGS)
        assert store.snapshot_now("new") == ()
        assert store.settings_now("new") == SETTINGS
        store.reserve_now("a", structs.replace(ONE, pool="new"))
        (snapshot,) = store.snapshot_now("new")
        assert snapshot.dimensions[0].available == 0

    def test_nothing_is_limited_unless_configured(self, clock: VirtualClock) -> None:
        assert MemoryStore(clock).settings_now("any") == PoolSettings()

    def test_the_settings_in_effect(self, store: MemoryStore) -> None:
        assert store.settings_now("p") == SETTINGS
        store.configure_now("p", PoolSettings(caps=QueueCaps(7)))
        assert store.settings_now("p") == PoolSettings(caps=QueueCaps(7))

    def test_a_snapshot_of_all(self, store: MemoryStore) -> None:
        store.advance("p")
        store.learn_now("q", RateLimited(S))
        assert [snapshot.pool for snapshot in store.snapshot_now()] == ["p", "q"]

    def test_names_beyond_the_bound_share_a_pool_while_all_are_in_use(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, otherwise=SETTINGS)
        names = []
        for n in range(200):
            names.append(store.pool_for(f"invented-{n}"))
            store.learn_now(f"invented-{n}", Succeeded())
        assert names == [f"invented-{n}" for n in range(200)]
        assert store.pool_for("one-too-many") == "other-models"
        assert store.pool_for("invented-7") == "invented-7"

    def test_a_further_endpoint_has_the_settings_of_other_endpoints(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"other_endpoints": SETTINGS}, PoolSettings(caps=QueueCaps(1)))
        assert store.settings_now("post_agents") == SETTINGS
        assert store.settings_now("sonnet-5") == PoolSettings(caps=QueueCaps(1))
        assert MemoryStore(clock, otherwise=SETTINGS).settings_now("post_agents") == PoolSettings()

    def test_pools_without_an_answer_make_room(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"configured": SETTINGS})
        store.advance("configured")
        store.learn_now("real", Succeeded())
        for n in range(250):
            store.learn_now(store.pool_for(f"invented-{n}"), RateLimited(S))
        names = [snapshot.pool for snapshot in store.snapshot_now()]
        assert len(names) == 200
        assert names[:2] == ["configured", "real"]
        assert names[-1] == "invented-249"

    def test_a_configured_pool_always_has_its_own(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock)
        for n in range(250):
            store.learn_now(f"used-{n}", Succeeded())
        store.configure_now("late", SETTINGS)
        assert store.pool_for("late") == "late"
        assert store.settings_now("late") == SETTINGS
        assert store.settings_now("other-models") == PoolSettings()


def test_the_asynchronous_methods_do_the_same(store: MemoryStore, clock: VirtualClock) -> None:
    async def steps() -> None:
        assert await store.reserve("a", ONE) == GRANTED
        assert await store.reserve("b", ONE) == Wait(3 * S)
        assert await store.withdraw("p", "b") == Refused(Cause.DEADLINE, 3 * S)
        await store.charge("p", "a", Cost(2))
        assert await store.end("p", "a", Outcome.SETTLED, Cost(4))
        assert not await store.end("p", "a", Outcome.SETTLED)
        await store.learn("p", RateLimited(2 * S))
        await store.configure("p", PoolSettings(SETTINGS.limits, SETTINGS.adaptive, caps=QueueCaps(3)))

    asyncio.run(steps())
    clock.advance(1)
    (snapshot,) = asyncio.run(store.snapshot("p"))
    assert snapshot.dimensions[0].available == pytest.approx(-3 + 0.3)
    assert (snapshot.frozen_seconds, snapshot.rate_limited, snapshot.in_flight) == (1, 1, 0)
    assert store.settings_now("p").caps.requests == 3


def test_threads_share_one_bucket_exactly(clock: VirtualClock) -> None:
    store = MemoryStore(clock, {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(20, 500)}, caps=QueueCaps(0))})
    store.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
    granted: list[list[int]] = [[] for _ in range(4)]

    def take(thread: int) -> None:
        for number in range(300):
            if isinstance(store.reserve_now(f"{thread}-{number}", ONE), Granted):
                granted[thread].append(number)

    threads = [threading.Thread(target=take, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sum(map(len, granted)) == 500


class TestFinalizers:
    """The collector of garbage may run the end of an abandoned coroutine inside a step, in the same thread."""

    class InterruptingClock(VirtualClock):
        """Runs what it is given at the next reading of the time, which is within a step of the store."""

        def __init__(self) -> None:
            super().__init__()
            self.finalizer: Callable[[], object] | None = None

        def monotonic_ns(self) -> int:
            finalizer, self.finalizer = self.finalizer, None
            if finalizer is not None:
                finalizer()
            return super().monotonic_ns()

    @pytest.fixture
    def clock(self) -> InterruptingClock:
        return self.InterruptingClock()

    @pytest.fixture
    def steps(self, store: MemoryStore) -> dict[str, Callable[[], object]]:
        return {
            "admit": lambda: store.try_admit("c", ONE),
            "admit in vain": lambda: (store.try_admit("c", ONE), store.try_admit("d", ONE)),
            "reserve": lambda: store.reserve_now("c", ONE),
            "end": lambda: store.end_now("p", "unknown", Outcome.SETTLED),
            "learn": lambda: store.learn_now("p", Succeeded()),
            "snapshot": lambda: store.snapshot_now("p"),
            "new pool": lambda: store.pool_for("q"),
        }

    @pytest.mark.parametrize("step", ["admit", "admit in vain", "reserve", "end", "learn", "snapshot", "new pool"])
    def test_a_finalizer_ends_its_lease_after_the_step(
        self, store: MemoryStore, clock: InterruptingClock, steps: dict[str, Callable[[], object]], step: str
    ) -> None:
        store.reserve_now("a", ONE)
        store.reserve_now("waits", ONE)
        changes = heard_by(store)
        clock.finalizer = lambda: store.end_now("p", "a", Outcome.RELEASED)
        steps[step]()
        assert [change.granted for change in changes if change.granted] == [("waits",)]

    def test_each_thing_that_a_finalizer_does_is_done(self, store: MemoryStore, clock: InterruptingClock) -> None:
        def finalize() -> None:
            store.learn_now("p", Succeeded())
            store.charge_now("p", "a", Cost(2))
            store.release("p", "waits")
            store.end_now("p", "a", Outcome.SETTLED, Cost(3))

        store.reserve_now("a", ONE)
        store.reserve_now("waits", ONE)
        clock.finalizer = finalize
        store.advance("p")
        (pool,) = store.snapshot_now("p")
        assert (pool.succeeded, pool.waiting, pool.in_flight) == (1, 0, 0)
        assert pool.dimensions[0].available == -2

    def test_they_cannot_ask_for_more(self, store: MemoryStore, clock: InterruptingClock) -> None:
        faults: list[str] = []

        def finalize() -> None:
            with pytest.raises(RuntimeError, match="finalizer") as raised:
                store.try_admit("a", ONE)
            faults.append(str(raised.value))

        clock.finalizer = finalize
        assert store.try_admit("b", ONE), "the step itself goes on"
        assert len(faults) == 1


class TestLeasesThatNobodyEnds:
    HOUR_S = 3_600

    def pass_an_hour(self, store: MemoryStore, clock: VirtualClock) -> None:
        """With a look at the pools half-way: who is silent is found so twice."""
        for _ in range(2):
            clock.advance(self.HOUR_S / 2)
            store.advance("p")

    def test_looking_at_the_pool_ends_them(self, store: MemoryStore, clock: VirtualClock) -> None:
        changes: list[Change] = []
        store.watch(changes.append)
        store.reserve_now("a", ONE)
        clock.advance(self.HOUR_S / 2)
        assert store.snapshot_now("p")[0].in_flight == 1
        clock.advance(self.HOUR_S / 2)
        (pool,) = store.snapshot_now("p")
        assert pool.in_flight == 0
        assert [type(event) for change in changes for event in change.events] == [Anomaly, LeaseEnded]
        assert store.snapshot_now("unknown") == ()

    def test_that_lets_their_callers_next_go_in_other_pools(self, store: MemoryStore, clock: VirtualClock) -> None:
        demand = Demand("p", Caller("a", limits=CallerLimits(max_concurrent=1)), ONE_REQUEST)
        store.reserve_now("a", demand)
        assert isinstance(store.reserve_now("b", structs.replace(demand, pool="q")), Wait)
        changes = heard_by(store)
        for _ in range(2):
            clock.advance(self.HOUR_S / 2)
            store.snapshot_now("p")
        assert [(change.pool, change.granted) for change in changes if change.granted] == [("q", ("b",))]

    def test_any_other_step_ends_them(self, store: MemoryStore, clock: VirtualClock) -> None:
        store.reserve_now("a", ONE)
        self.pass_an_hour(store, clock)
        assert not store.end_now("p", "a", Outcome.SETTLED)


def test_a_call_that_ends_in_one_pool_lets_its_callers_next_go_in_another(store: MemoryStore) -> None:
    caller = Caller("a", limits=CallerLimits(max_concurrent=1))
    demand = Demand("q", caller, ONE_REQUEST)
    assert store.reserve_now("first", demand) == GRANTED
    assert isinstance(store.reserve_now("second", structs.replace(demand, pool="r")), Wait)
    changes = heard_by(store)
    store.end_now("q", "first", Outcome.SETTLED)
    granted = [(change.pool, change.granted) for change in changes if change.granted]
    assert granted == [("r", ("second",))]
    store.configure_now("q", PoolSettings())
    assert isinstance(store.reserve_now("third", demand), Wait)
    store.release("r", "second")
    assert [change.granted for change in changes if change.granted][-1] == ("third",)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_callers_next_go_when_a_request_comes_under_other_limits(store: MemoryStore, *, at_once: bool) -> None:
    store.configure_now("q", PoolSettings(adaptive=AdaptiveSettings()))
    demand = Demand("q", Caller("a", limits=CallerLimits(max_concurrent=1)), ONE_REQUEST)
    for number in range(3):
        store.reserve_now(f"{number}", demand)
    changes = heard_by(store)
    more = Demand("r", Caller("a", limits=CallerLimits(max_concurrent=3)), ONE_REQUEST)
    assert store.try_admit("more", more) if at_once else store.reserve_now("more", more) == GRANTED
    assert [(change.pool, change.granted) for change in changes if change.granted] == [("q", ("1",))]
