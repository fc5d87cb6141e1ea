"""A caller that never settles: its lease ends by itself, is charged the estimate, and is counted."""

import pytest
from msgspec import structs

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import GRANTED, Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Anomaly, LeaseEnded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

HOUR = 3_600 * S
COST = Cost(1, 1_000, 200)
ONE = Demand("p", DEFAULT_CALLER, COST)
EXPIRED = (Anomaly("p", AnomalyKind.LEASE), LeaseEnded("p", DEFAULT_CALLER, Outcome.ABANDONED, COST, COST))


@pytest.fixture
def state() -> Pool:
    state = Pool("p", PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(60_000, 1_000_000)}), 0)
    assert state.reserve("forgotten", ONE, 0) == GRANTED
    return state


def look(state: Pool, since_ns: int, until_ns: int) -> None:
    """As a store does it, with every step; and at each scrape, though it be half an hour apart."""
    for now_ns in (*range(since_ns, until_ns, HOUR // 2), until_ns):
        state.expire(now_ns)


def test_after_an_hour_of_silence_it_is_over(state: Pool) -> None:
    level = state.snapshot(0).dimensions[1].available
    look(state, 0, HOUR - 1)
    assert state.snapshot(HOUR - 1).in_flight == 1
    assert state.snapshot(HOUR - 1).oldest_lease_seconds == pytest.approx(3600)
    state.expire(HOUR)
    snapshot = state.snapshot(HOUR)
    assert (snapshot.in_flight, snapshot.unanswered, snapshot.oldest_lease_seconds) == (0, 0, None)
    assert state.drain_events() == EXPIRED
    assert level == 999_000, "the estimate stays charged"
    assert not state.end("forgotten", Outcome.SETTLED, Cost(1, 5, 5), HOUR), "too late"


def test_a_sign_of_life_keeps_it(state: Pool) -> None:
    state.charge("forgotten", Cost(1, 1_000, 300), HOUR)
    look(state, HOUR, 2 * HOUR - 1)
    assert state.snapshot(2 * HOUR).in_flight == 1
    state.expire(2 * HOUR)
    assert state.snapshot(2 * HOUR).in_flight == 0


def test_a_caller_that_would_wait_longer_may_be_silent_for_longer() -> None:
    state = Pool("p", PoolSettings(), 0)
    assert state.reserve("long", structs.replace(ONE, patience_ns=5 * HOUR), 0) == GRANTED
    look(state, 0, 5 * HOUR - 1)
    assert state.snapshot(5 * HOUR).in_flight == 1
    state.expire(5 * HOUR)
    assert state.snapshot(5 * HOUR).in_flight == 0


def test_a_clock_that_jumps_takes_half_an_hour_of_it_at_most(state: Pool) -> None:
    """As after a suspension, in which nobody could say anything."""
    state.expire(100 * HOUR)
    look(state, 100 * HOUR, 100 * HOUR + HOUR // 2 - 1)
    assert state.snapshot(100 * HOUR).in_flight == 1
    state.charge("forgotten", Cost(1, 1_000, 300), 100 * HOUR)
    look(state, 100 * HOUR, 101 * HOUR - 1)
    assert state.snapshot(101 * HOUR).in_flight == 1, "and a sign of life gives it back"
    state.expire(101 * HOUR)
    assert state.snapshot(101 * HOUR).in_flight == 0


def test_each_is_looked_at_by_itself(state: Pool) -> None:
    state.reserve("later", ONE, HOUR // 2)
    look(state, 0, HOUR)
    assert state.snapshot(HOUR).in_flight == 1
    look(state, HOUR, HOUR + HOUR // 2)
    assert state.snapshot(2 * HOUR).in_flight == 0
    assert state.drain_events() == EXPIRED * 2


def test_it_cannot_keep_an_overloaded_upstream_closed(state: Pool) -> None:
    """What hangs for ever counts as unanswered until it expires, and no longer."""
    assert state.snapshot(0).unanswered == 1
    look(state, 0, HOUR)
    assert state.snapshot(HOUR).unanswered == 0
