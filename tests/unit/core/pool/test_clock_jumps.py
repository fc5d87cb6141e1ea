"""A pool survives a jump of the monotonic clock."""

import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Frozen
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

HOUR = 3_600 * S
ONE = Demand("p", DEFAULT_CALLER, Cost(1))


def admitted(state: Pool, now_ns: int, tries: int = 1_000) -> int:
    """How many of so many are admitted at once; the rest leave again."""
    count = 0
    for number in range(tries):
        lease_id = f"{now_ns}-{number}"
        if isinstance(state.reserve(lease_id, ONE, now_ns), Granted):
            count += 1
            state.end(lease_id, Outcome.SETTLED, Cost(1), now_ns)
        else:
            assert state.withdraw(lease_id, now_ns) is not None
            break
    return count


@pytest.fixture(params=["configured", "reported"])
def state(request: pytest.FixtureRequest) -> Pool:
    """60 a minute, a bucket of 20, nearly empty at first."""
    if request.param == "configured":
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 20)}), 0)
    else:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("first", ONE, 0)
        state.learn(LimitReport(DimensionReport(60, 19, S)), 0)
        state.end("first", Outcome.SETTLED, Cost(1), 0)
    admitted(state, 0)
    return state


def test_after_a_jump_by_hours_a_bucket_is_full_and_no_more(state: Pool) -> None:
    assert admitted(state, 0) == 0
    assert 1 <= admitted(state, 5 * HOUR) <= 20
    assert admitted(state, 5 * HOUR) == 0
    assert admitted(state, 5 * HOUR + 3 * S) == 3


def test_a_freeze_is_over_after_a_jump_and_one_request_probes(state: Pool) -> None:
    state.learn(RateLimited(20 * S, 0), 0)
    assert state.reserve("frozen", ONE, 0) != GRANTED
    assert [type(event) for event in state.drain_events()].count(Frozen) == 1
    assert state.advance(HOUR) == ("frozen",)
    if not state.settings.limits:
        assert admitted(state, HOUR) == 0, "the others wait for the probe"


def test_a_jump_while_requests_wait_admits_few_and_leaves_predictions_plausible(state: Pool) -> None:
    for number in range(50):
        state.reserve(f"waits-{number}", ONE, 0)
    assert len(state.advance(HOUR)) <= 20
    refused = state.withdraw("waits-49", HOUR)
    assert refused is not None
    assert refused.retry_after_ns is not None
    assert 0 <= refused.retry_after_ns <= 300 * S, "one jump does not make the next predictions absurd"
