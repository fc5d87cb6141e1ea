"""A dump with live work: what it takes along, how large it is, and that long logs are not condensed."""

import msgspec
import pytest

from support.dumps import round_trip
from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.domain.state_encoding import encode_state
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.pools import Pools
from tidegate.stores.steps import Batch, Release, Reserve

SLOW = PoolSettings({Dimension.REQUESTS: LimitSettings(60.0, 1.0)}, AdaptiveSettings())
ONE = Demand("p", Caller("ann"), Cost(1))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock, {"p": SLOW})


def restarted(store: MemoryStore, clock: VirtualClock, age_ns: int = 0) -> MemoryStore:
    fresh = MemoryStore(clock, {"p": SLOW})
    fresh.restore(round_trip(store.dump(work=True)), age_ns)
    return fresh


def test_a_store_continues_with_its_leases_and_waiters(store: MemoryStore, clock: VirtualClock) -> None:
    assert store.reserve_now("a-0", ONE) == GRANTED
    assert store.reserve_now("a-1", ONE) == Wait(S)
    fresh, changes = restarted(store, clock), list[Change]()
    fresh.watch(changes.append)
    fresh.advance("p")
    assert [change.next_in_ns for change in changes] == [S], "so that a timer can be set"
    clock.advance(1)
    fresh.advance("p")
    assert changes[-1].granted == ("a-1",)
    assert fresh.end_now("p", "a-0", Outcome.SETTLED)
    assert not fresh.end_now("p", "a-0", Outcome.SETTLED)


def test_the_steps_of_other_processes_continue_after_those_folded_before(
    store: MemoryStore, clock: VirtualClock
) -> None:
    store.fold(Batch("b", 1, (Reserve("b-0", ONE), Reserve("b-1", ONE))))
    fresh = restarted(store, clock)
    folded = fresh.fold(Batch("b", 2, (Reserve("b-1", ONE), Release("p", "b-0"))))
    assert folded.number == 3
    assert [type(answer.result) for answer in folded.answers] == [Wait]
    assert fresh.snapshot_now("p")[0].waiting == 0


def test_waiting_time_goes_on_during_the_restart(store: MemoryStore, clock: VirtualClock) -> None:
    store.reserve_now("a-0", ONE)
    store.reserve_now("a-1", ONE)
    state = store.dump(work=True)
    clock.advance(1)
    fresh = MemoryStore(clock, {"p": SLOW})
    fresh.restore(state, S)
    assert fresh.snapshot_now("p")[0].classes["standard"].oldest_seconds == 1


def test_calls_in_flight_count_against_their_callers_own_limit(store: MemoryStore, clock: VirtualClock) -> None:
    one_at_a_time = Demand("q", Caller("ben", limits=CallerLimits(max_concurrent=1)), Cost(1))
    store.learn_now("q", Succeeded(0))
    assert store.reserve_now("a-0", one_at_a_time) == GRANTED
    assert isinstance(store.reserve_now("a-1", one_at_a_time), Wait)
    fresh, changes = restarted(store, clock), list[Change]()
    fresh.watch(changes.append)
    fresh.end_now("q", "a-0", Outcome.SETTLED)
    assert [change.granted for change in changes if change.granted] == [("a-1",)]


def test_a_waiter_keeps_its_last_cost_but_not_the_function_that_estimates_it(
    store: MemoryStore, clock: VirtualClock
) -> None:
    def never(_now_ns: int) -> Cost:
        raise AssertionError

    store.reserve_now("a-0", ONE)
    store.reserve_now("a-1", msgspec.structs.replace(ONE, price=never))
    fresh = restarted(store, clock)
    clock.advance(2)
    fresh.advance("p")
    assert fresh.snapshot_now("p")[0].waiting == 0


def test_a_busy_pool_keeps_all_charges_and_reports_of_the_last_minutes() -> None:
    """5,000 requests in 25 s and a report every 20 ms: the next report corrects both levels alike."""
    pools, now_ns = Pools(), 10**15
    full = DimensionReport(12_000, 600, S)
    pools.learn("p", LimitReport(full, full, full, 0), now_ns)
    for number in range(5_000):
        now_ns += S // 200
        pools.try_admit(f"a-{number}", Demand("p", Caller("ann"), Cost(1, 1)), now_ns)
        given = (LimitReport(DimensionReport(12_000, 500 - number % 7), sent_ago_ns=S // 2),) if not number % 4 else ()
        pools.end("p", f"a-{number}", Outcome.SETTLED, Cost(1, 1, 1), given, None, now_ns)
    state = pools.dump(now_ns, work=True)
    assert len(encode_state(state.pools[0])) <= 64 * 1024
    copy = Pools()
    copy.restore(round_trip(state), now_ns)
    assert copy.dump(now_ns, work=True) == state
    for each in (pools, copy):
        each.take_changes()
        each.learn("p", LimitReport(DimensionReport(12_000, 300), sent_ago_ns=3 * S), now_ns)
    assert copy.take_changes() == pools.take_changes()
    assert copy.snapshot("p", now_ns) == pools.snapshot("p", now_ns)
    assert copy.dump(now_ns, work=True) == pools.dump(now_ns, work=True)


def test_its_size_is_proportional_to_the_waiters(store: MemoryStore) -> None:
    sizes = []
    for number in range(2_001):
        store.reserve_now(f"a-{number}", msgspec.structs.replace(ONE, session=f"s{number}"))
        if number in {1_000, 2_000}:
            sizes.append(len(msgspec.msgpack.encode(store.dump(work=True))))
    assert sizes[1] - sizes[0] < 1_000 * 500
