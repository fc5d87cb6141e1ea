"""A pool's dump, restored: what stays, what is lost, and what cannot be read."""

import msgspec
import pytest

from tidegate.core.accounts.accounts import Accounts
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.events import RateChanged
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.pool.pool import Pool
from tidegate.core.pool.pool_state import POOL_STATE_VERSION, PoolState

START_NS = 10**15
CONFIGURED = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)})
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)}, AdaptiveSettings())


def some_data() -> bytes:
    pool = Pool("p", CONFIGURED, START_NS)
    pool.learn(RateLimited(S, 0), START_NS)
    return encode_state(pool.dump(START_NS))


def test_requests_in_flight_stay_charged_and_are_no_longer_unanswered() -> None:
    pool = Pool("p", CONFIGURED, START_NS)
    pool.learn(Succeeded(0), START_NS)
    for number in range(5):
        assert pool.reserve(f"{number}", Demand("p", DEFAULT_CALLER, Cost(1)), START_NS) == Granted()
    restored = Pool.restore(pool.dump(START_NS), 0, CONFIGURED)
    snapshot = restored.snapshot(0)
    assert (snapshot.in_flight, snapshot.unanswered, snapshot.granted) == (0, 0, 5)
    assert snapshot.dimensions[0].available == 0
    assert not restored.end("0", Outcome.RELEASED, None, 0), "its lease was lost"
    assert restored.next_in_ns(0) is None, "nobody waits"


def test_a_lease_keeps_its_ages_and_loses_the_function_that_prices_it() -> None:
    pool = Pool("p", CONFIGURED, START_NS)
    pool.learn(Succeeded(0), START_NS)
    priced = Demand("p", DEFAULT_CALLER, Cost(1, 100), price=lambda _now_ns: Cost(1, 100))
    assert pool.reserve("a", priced, START_NS + S) == Granted()
    pool.charge("a", Cost(1, 100, 1), START_NS + 3 * S)
    now_ns = START_NS + 7 * S
    restored = Pool.restore(pool.dump(now_ns), 90 * S, CONFIGURED)
    restored.restore_work(pool.dump_work(now_ns), 90 * S, Accounts().known)
    lease = restored._book.leases["a"]
    assert (lease.granted_ns, lease.alive_ns, lease.demand.price) == (84 * S, 86 * S, None)


def test_requests_in_flight_count_again_with_their_leases() -> None:
    accounts, ann = Accounts(), Caller("ann", limits=CallerLimits(max_concurrent=3))
    pool = Pool("p", CONFIGURED, START_NS, accounts)
    pool.learn(Succeeded(0), START_NS)
    pool.reserve("counted", Demand("p", ann, Cost(1), settle_at_once=True), START_NS)
    for name in "abc":
        pool.reserve(name, Demand("p", ann, Cost(1)), START_NS)
    pool.learn(Succeeded(0, "a"), START_NS)
    copies = Accounts.restore(accounts.dump(START_NS), 0)
    restored = Pool.restore(pool.dump(START_NS), 0, CONFIGURED, copies)
    restored.restore_work(pool.dump_work(START_NS), 0, copies.known)
    assert (restored.snapshot(0).in_flight, restored.snapshot(0).unanswered) == (4, 2)
    assert copies.known("ann").in_flight == 3
    assert not restored.try_admit("d", Demand("p", ann, Cost(1)), 0), "it has three already"
    assert restored.try_admit("d", Demand("p", DEFAULT_CALLER, Cost(1)), 0)


def test_timers_of_leases_and_of_callers_over_their_limits_go_on() -> None:
    accounts, slow = Accounts(), Caller("slow", limits=CallerLimits(requests_per_minute=6))
    pool = Pool("p", CONFIGURED, START_NS, accounts)
    pool.learn(Succeeded(0), START_NS)
    for name in "abc":
        pool.reserve(name, Demand("p", slow, Cost(1)), START_NS)
    pool.expire(START_NS)
    for now_ns, next_s in ((START_NS + 4 * S, 6), (START_NS + 12 * S, 0)):
        due_in_ns = pool._book.leases.due_ns - now_ns
        copies = Accounts.restore(accounts.dump(now_ns), 90 * S)
        restored = Pool.restore(pool.dump(now_ns), 90 * S, CONFIGURED, copies)
        restored.restore_work(pool.dump_work(now_ns), 90 * S, copies.known)
        assert restored._book.leases.due_ns == 90 * S + due_in_ns
        assert restored.account_waits.until_ns == (90 + next_s) * S
        assert restored.dump_work(90 * S) == pool.dump_work(now_ns)
    assert pool.dump_work(START_NS + 95 * 3_600 * S).checked_in_ns == 0, "it is overdue"


def test_a_pool_over_whose_callers_nothing_hangs_has_nothing_to_wait_for() -> None:
    pool = Pool("p", CONFIGURED, START_NS)
    restored = Pool.restore(pool.dump(START_NS), 0, CONFIGURED)
    restored.restore_work(pool.dump_work(START_NS), 0, Accounts().known)
    assert restored.account_waits.until_ns is None


def test_what_a_pool_has_counted_goes_on() -> None:
    pool = Pool("p", CONFIGURED, START_NS)
    for _ in range(3):
        pool.learn(Succeeded(0), START_NS)
    for name in "ab":
        pool.reserve(name, Demand("p", DEFAULT_CALLER, Cost(1, 300)), START_NS)
        pool.end(name, Outcome.SETTLED, Cost(1, 200), START_NS + S)
    pool.learn(RateLimited(5 * S, 0), START_NS + S)
    before, after = (
        each.snapshot(now_ns)
        for each, now_ns in ((pool, START_NS + 2 * S), (Pool.restore(pool.dump(START_NS + 2 * S), 0, CONFIGURED), 0))
    )
    assert after == before
    assert (after.succeeded, after.granted, after.rate_limited, after.frozen_seconds) == (3, 2, 1, 4)


def test_other_settings_apply_to_what_was_learned() -> None:
    pool = Pool("p", CONFIGURED, START_NS)
    restored = Pool.restore(pool.dump(START_NS), 0, PoolSettings({Dimension.REQUESTS: LimitSettings(60, 5)}))
    change = restored.take_changes()
    assert change is not None
    assert change.events == (RateChanged("p", Dimension.REQUESTS, 600, 60, "configured"),)
    assert restored.snapshot(0).dimensions[0].effective_per_minute == 60


def test_a_factor_is_kept_only_by_a_pool_that_adapts() -> None:
    pool = Pool("p", ADAPTIVE, START_NS)
    pool.learn(RateLimited(), START_NS)
    assert Pool.restore(pool.dump(START_NS), 0, ADAPTIVE).snapshot(0).adaptive_factor == 0.9
    assert Pool.restore(pool.dump(START_NS), 0, CONFIGURED).snapshot(0).adaptive_factor == 1


def test_data_cut_at_any_byte_is_unreadable() -> None:
    data = some_data()
    assert decode_state(data, PoolState, POOL_STATE_VERSION).pool == "p"
    for length in range(len(data)):
        with pytest.raises(UnreadableState):
            decode_state(data[:length], PoolState, POOL_STATE_VERSION)
    with pytest.raises(UnreadableState, match="the state is damaged: the checksum of its 9 bytes is wrong"):
        decode_state(data[:9], PoolState, POOL_STATE_VERSION)


def test_another_version_is_unreadable_and_named() -> None:
    state = msgspec.structs.replace(
        decode_state(some_data(), PoolState, POOL_STATE_VERSION), version=POOL_STATE_VERSION + 1
    )
    with pytest.raises(UnreadableState, match=f"has version {POOL_STATE_VERSION + 1}, and only version"):
        decode_state(encode_state(state), PoolState, POOL_STATE_VERSION)


def test_the_right_version_with_another_content_is_unreadable() -> None:
    class Other(msgspec.Struct, array_like=True):
        version: int = POOL_STATE_VERSION

    with pytest.raises(UnreadableState, match="is not as version 1 writes it: Expected `array` of at least length 11"):
        decode_state(encode_state(Other()), PoolState, POOL_STATE_VERSION)
