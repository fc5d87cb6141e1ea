"""A sharp rise in use is spread, and steady use is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.acceleration.acceleration_limit import AccelerationLimit
from tidegate.core.claude.rate_limit_groups import ENDPOINT_POOLS
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.quota.quota import Quota

BEGAN_NS = 1_000 * S
PLENTY = LimitReport(DimensionReport(60_000, 60_000))


def burst(limit: AccelerationLimit, count: int, now_ns: int) -> int:
    """Sends so many as fast as they may go; returns when the last one went."""
    for _ in range(count):
        now_ns += limit.wait_ns(now_ns)
        limit.sent(now_ns)
    return now_ns


def test_fifty_requests_go_at_once_and_no_more() -> None:
    limit = AccelerationLimit()
    assert burst(limit, 50, BEGAN_NS) == BEGAN_NS
    assert limit.binds(BEGAN_NS)
    assert limit.wait_ns(BEGAN_NS) == pytest.approx(S / (2.5 * 50))


@pytest.mark.parametrize(("count", "seconds"), [(60, 0.0735), (100, 0.28), (1_000, 1.2), (4_000, 1.75)])
def test_a_burst_grows_by_a_quarter_in_a_tenth_of_a_second(count: int, seconds: float) -> None:
    assert burst(AccelerationLimit(), count, BEGAN_NS) - BEGAN_NS == pytest.approx(seconds * S, rel=0.05)


def test_fifty_may_go_at_once_again_after_a_pause() -> None:
    limit = AccelerationLimit()
    later_ns = burst(limit, 100, BEGAN_NS) + 70 * S
    assert burst(limit, 50, later_ns) == later_ns
    assert limit.wait_ns(later_ns) > 0


@given(st.integers(1, 2_000), st.integers(1, 50))
def test_steady_use_never_waits_once_it_has_begun(per_second: int, at_once: int) -> None:
    limit, now_ns = AccelerationLimit(), BEGAN_NS
    for _ in range(3 * per_second // at_once):
        now_ns = burst(limit, at_once, now_ns) + S * at_once // per_second
    for _ in range(10):
        assert limit.wait_ns(now_ns) == 0
        assert burst(limit, at_once, now_ns) - now_ns <= S // 10
        now_ns += S * at_once // per_second


@pytest.mark.parametrize(
    ("pool", "settings", "is_spread"),
    [
        ("claude-sonnet-5", PoolSettings(), True),
        ("claude-sonnet-5", PoolSettings({Dimension.REQUESTS: LimitSettings(60_000, 1_000)}), False),
        (next(iter(ENDPOINT_POOLS)), PoolSettings(), False),
    ],
    ids=["models", "configured", "endpoints"],
)
def test_bursts_that_were_configured_and_those_of_endpoints_go_at_once(
    pool: str, settings: PoolSettings, *, is_spread: bool
) -> None:
    quota = Quota(pool, settings, 0)
    quota.learn_limits(PLENTY, 0)
    for _ in range(50):
        quota.charge(ONE_REQUEST, 0)
    assert quota.fits(ONE_REQUEST, 0) != is_spread
    assert (quota.wait_ns(ONE_REQUEST, 0) > 0) == is_spread
    assert quota.only_levels_bind(0) != is_spread


def test_it_ends_once_the_upstream_has_shown_how_fast_use_may_rise() -> None:
    limit = AccelerationLimit()
    burst(limit, 60, BEGAN_NS)
    limit.refused(BEGAN_NS, BEGAN_NS)
    later_ns = BEGAN_NS + 61 * S
    assert burst(limit, 60, later_ns) == later_ns
