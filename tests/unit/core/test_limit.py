"""One dimension of a pool: which source sets its rate, and what the upstream's reports teach."""

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import Dimension
from tidegate.core.headers import DimensionReport
from tidegate.core.limit import DimensionLimit
from tidegate.core.store import DimensionSnapshot, LimitSettings

INPUT = Dimension.INPUT_TOKENS


def limit(configured: LimitSettings | None = None) -> DimensionLimit:
    made = DimensionLimit(INPUT)
    made.configure(configured, 0)
    return made


def levels(made: DimensionLimit, now_ns: int = 0) -> tuple[float | None, float | None, float | None, str]:
    """Effective rate, level, capacity, and what binds."""
    state = made.snapshot(now_ns)
    return state.effective_per_minute, state.available, state.capacity, state.binding


def test_nothing_is_limited_on_a_guess() -> None:
    made = limit()
    assert made.bucket is None
    assert made.snapshot(0) == DimensionSnapshot(INPUT, None, None, None, None, None, "none")


def test_a_configured_limit() -> None:
    made = limit(LimitSettings(per_minute=6_000, capacity=1_000))
    assert made.snapshot(0) == DimensionSnapshot(INPUT, 6_000, None, 6_000, 1_000, 1_000, "configured")


def test_removing_the_only_limit_removes_the_bucket() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.configure(None, 0)
    assert levels(made) == (None, None, None, "none")


def test_a_limit_that_comes_back_is_not_refilled() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    assert made.bucket is not None
    made.bucket.take(700_000_000)
    made.configure(None, 0)
    made.configure(LimitSettings(6_000, 1_000), 0)
    assert levels(made) == (6_000, 300, 1_000, "configured")


def test_the_first_report_makes_a_bucket_with_what_it_says_is_left() -> None:
    made = limit()
    assert made.learn(DimensionReport(6_000, remaining=400), 0)
    assert levels(made) == (6_000, 400, 400, "upstream")


def test_the_same_limit_again_is_no_news_another_is() -> None:
    made = limit()
    assert made.learn(DimensionReport(6_000), 0)
    assert not made.learn(DimensionReport(6_000), 0)
    assert made.learn(DimensionReport(8_000), 0)


def test_the_capacity_follows_from_what_is_left_and_when_all_is_back() -> None:
    made = limit()
    made.learn(DimensionReport(6_000, remaining=400, full_in_ns=6 * NS_PER_SECOND + NS_PER_SECOND // 2), 0)
    assert levels(made) == (6_000, 400, 1_000, "upstream")


def test_the_capacity_is_never_more_than_a_minute_of_the_rate() -> None:
    made = limit()
    made.learn(DimensionReport(6_000, remaining=5_900, full_in_ns=600 * NS_PER_SECOND), 0)
    assert made.snapshot(0).capacity == 6_000


def test_a_capacity_once_seen_is_not_forgotten_until_the_limit_changes() -> None:
    made = limit()
    made.learn(DimensionReport(6_000, remaining=900), 0)
    made.learn(DimensionReport(6_000, remaining=100), 0)
    assert made.snapshot(0).capacity == 900
    made.learn(DimensionReport(8_000, remaining=500), 0)
    assert made.snapshot(0).capacity == 500


def test_the_capacity_is_never_less_than_a_second_of_the_rate() -> None:
    made = limit()
    made.learn(DimensionReport(6_000), 0)
    assert levels(made) == (6_000, 100, 100, "upstream")
    made.learn(DimensionReport(6_000, remaining=3), 0)
    assert levels(made) == (6_000, 3, 100, "upstream")


def test_the_level_is_corrected_down_never_up() -> None:
    made = limit()
    made.learn(DimensionReport(6_000, remaining=900), 0)
    made.learn(DimensionReport(6_000, remaining=300), 0)
    assert made.snapshot(0).available == 300
    made.learn(DimensionReport(6_000, remaining=800), 0)
    assert made.snapshot(0).available == 300


def test_the_smaller_of_configuration_and_upstream_binds() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.learn(DimensionReport(9_000, remaining=5_000), 0)
    assert levels(made) == (6_000, 1_000, 1_000, "configured")
    made.learn(DimensionReport(3_000, remaining=2_000), 0)
    assert levels(made) == (3_000, 1_000, 1_000, "upstream")
    made.learn(DimensionReport(3_000, remaining=300), 0)
    assert levels(made) == (3_000, 300, 1_000, "upstream")


def test_the_configured_capacity_caps_the_upstreams() -> None:
    made = limit(LimitSettings(6_000, 500))
    made.learn(DimensionReport(3_000, remaining=2_000), 0)
    assert made.snapshot(0).capacity == 500


def test_adaptation_lowers_the_rate_and_says_so() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.adapt(0.9, 0)
    assert levels(made) == (5_400, 1_000, 1_000, "adaptive")
    made.adapt(1.0, 0)
    assert levels(made) == (6_000, 1_000, 1_000, "configured")


def test_changes_keep_the_level() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    bucket = made.bucket
    assert bucket is not None
    bucket.take(600_000_000)
    made.configure(LimitSettings(60_000, 5_000), 0)
    assert levels(made) == (60_000, 400, 5_000, "configured")
    assert made.snapshot(NS_PER_SECOND).available == 1_400


def test_a_tiny_limit_still_refills_and_holds_one() -> None:
    made = limit(LimitSettings(per_minute=1e-12, capacity=1e-3))
    assert levels(made) == (1e-6, 1, 1, "configured")
