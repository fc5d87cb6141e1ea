"""A store continues from its dump: pools, callers' accounts, and what was configured at runtime."""

import pytest
from msgspec import structs

from support.dumps import round_trip
from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.store_state import StoreState

SLOW = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)})
FAST = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 1)})
LIMITED = Caller("ann", limits=CallerLimits(requests_per_minute=6))
ONE = Demand("p", Caller("ben"), Cost(1))


def restarted(
    store: MemoryStore, clock: VirtualClock, configured: dict[str, PoolSettings] | None = None
) -> MemoryStore:
    """Another store that continues from the dump of this one."""
    fresh = MemoryStore(clock, configured)
    fresh.restore(round_trip(store.dump()))
    return fresh


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock)


def test_an_empty_store_restores_to_an_empty_one(store: MemoryStore, clock: VirtualClock) -> None:
    assert restarted(store, clock).snapshot_now() == ()


def test_reported_limits_and_levels_are_restored(store: MemoryStore, clock: VirtualClock) -> None:
    store.learn_now("p", LimitReport(DimensionReport(600, 7, 59 * S // 10)))
    for number in range(2):
        assert store.try_admit(f"{number}", ONE)
    fresh = restarted(store, clock)
    (before,), (after,) = store.snapshot_now("p"), fresh.snapshot_now("p")
    assert after.dimensions == before.dimensions
    assert (after.granted, after.in_flight) == (2, 0)


def test_a_freeze_is_restored_for_all_pools(store: MemoryStore, clock: VirtualClock) -> None:
    for pool in ("p", "q"):
        store.learn_now(pool, RateLimited(10 * S))
    snapshots = {each.pool: each.frozen_seconds for each in restarted(store, clock).snapshot_now()}
    assert snapshots == {"p": 10, "q": 10}


def test_the_use_of_callers_own_limits_is_restored(store: MemoryStore, clock: VirtualClock) -> None:
    store.learn_now("p", Succeeded(0))
    demand = Demand("p", LIMITED, Cost(1), 0)
    assert store.reserve_now("a", demand) == Granted()
    fresh = restarted(store, clock)
    assert fresh.reserve_now("b", demand) == Refused(Cause.CALLER_LIMIT, 10 * S, limit="requests_per_minute")


def test_a_restored_pool_notifies_of_leases_only_if_a_listener_wants_them(
    store: MemoryStore, clock: VirtualClock
) -> None:
    store.learn_now("p", Succeeded(0))
    fresh, changes = restarted(store, clock), list[Change]()
    for number, watch in enumerate([False, True]):
        fresh.watch(changes.append, leases=watch)
        assert fresh.try_admit(f"{number}", ONE)
        fresh.end_now("p", f"{number}", Outcome.RELEASED)
    assert [len(change.events) for change in changes] == [1, 1], "both listeners receive the second lease"


class TestConfigured:
    def test_it_holds_while_the_file_says_the_same(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": SLOW})
        store.configure_now("p", FAST)
        fresh = restarted(store, clock, {"p": SLOW})
        assert fresh.settings_now("p") == FAST
        assert fresh.snapshot_now("p")[0].dimensions[0].configured_per_minute == 600
        assert restarted(fresh, clock, {"p": SLOW}).settings_now("p") == FAST, "also over the next restart"

    def test_another_value_in_the_file_ends_it(self, clock: VirtualClock) -> None:
        store = MemoryStore(clock, {"p": SLOW})
        store.configure_now("p", FAST)
        fresh = restarted(store, clock, {"p": PoolSettings()})
        assert fresh.settings_now("p") == PoolSettings()
        assert fresh.dump().configured == ()

    def test_it_holds_for_a_pool_that_the_file_does_not_name(self, store: MemoryStore, clock: VirtualClock) -> None:
        store.configure_now("post_agents", FAST)
        assert restarted(store, clock).settings_now("post_agents") == FAST

    def test_it_applies_to_a_pool_that_exists_already(self, store: MemoryStore, clock: VirtualClock) -> None:
        state = StoreState((), (), store.dump().configured)
        assert state.configured == ()
        store.configure_now("p", SLOW)
        fresh = MemoryStore(clock)
        assert fresh.pool_for("p") == "p"
        fresh.restore(StoreState((), (), store.dump().configured))
        assert fresh.snapshot_now("p")[0].dimensions[0].configured_per_minute == 60

    def test_settings_of_the_program_are_no_configuration_at_runtime(
        self, store: MemoryStore, clock: VirtualClock
    ) -> None:
        store.set_initial("default", SLOW)
        assert store.settings_now("default") == SLOW
        assert store.snapshot_now("default")[0].dimensions[0].configured_per_minute == 60
        assert store.dump().configured == ()
        store.configure_now("default", FAST)
        fresh = MemoryStore(clock)
        fresh.set_initial("default", SLOW)
        fresh.restore(store.dump())
        assert fresh.settings_now("default") == FAST


def test_a_store_in_use_is_not_replaced(store: MemoryStore) -> None:
    state = store.dump()
    assert not isinstance(store.reserve_now("a", ONE), Wait)
    with pytest.raises(RuntimeError, match="before its first call"):
        store.restore(state)
    assert store.end_now("p", "a", Outcome.RELEASED), "the store works on"


def test_a_pool_of_another_version_is_unreadable(store: MemoryStore, clock: VirtualClock) -> None:
    store.learn_now("p", RateLimited(S))
    state = store.dump()
    newer = structs.replace(state, pools=(structs.replace(state.pools[0], version=2),))
    fresh = MemoryStore(clock)
    with pytest.raises(UnreadableState, match="pool 'p' has version 2, not 1"):
        fresh.restore(newer)
    assert fresh.snapshot_now() == ()


def test_the_collector_may_end_leases_during_a_dump(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a finalizer does that interrupts the dump: the lease ends right after it."""
    store.learn_now("p", Succeeded(0))
    assert store.try_admit("a", ONE)
    dump = Pool.dump

    def interrupted(pool: Pool, now_ns: int) -> object:
        assert store.end_now("p", "a", Outcome.RELEASED)
        return dump(pool, now_ns)

    monkeypatch.setattr(Pool, "dump", interrupted)
    store.dump()
    assert store.snapshot_now("p")[0].in_flight == 0
