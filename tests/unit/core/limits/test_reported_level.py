"""How wide the interval of a report is, which reading corrects the level, and what a dump keeps."""

import pytest

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.limits.reported_level import ReportedLevel, ReportedLevelSettings
from tidegate.core.limits.token_bucket import TokenBucket

PER_MINUTE = 6_000  # 100 a second
CAPACITY = 4_000


class Reported:
    """Reports of a limit of input tokens, and the bucket that they correct."""

    def __init__(self, level: int, now_ns: int = 0) -> None:
        self.reported = ReportedLevel(Dimension.INPUT_TOKENS, FixedWindowVotes())
        self.bucket = TokenBucket(PER_MINUTE * MICRO, CAPACITY * MICRO, now_ns, level * MICRO)

    def observe(
        self, remaining: int, full_in_ns: int | None, now_ns: int, sent_ago_ns: int = 0, *, is_first: bool = False
    ) -> None:
        report = DimensionReport(PER_MINUTE, remaining, full_in_ns)
        self.reported.observe(report, now_ns)
        self.reported.observe_level(self.bucket, report, remaining, sent_ago_ns, 0, now_ns, is_first=is_first)

    def level(self, now_ns: int) -> float:
        return self.bucket.level_micro(now_ns) / MICRO


def test_the_uncertainty_is_half_the_mean_width_of_the_intervals() -> None:
    made = Reported(3_000)
    made.observe(3_000, None, 0, is_first=True)
    assert made.reported.uncertainty(CAPACITY) == 500, "rounded to thousands"
    made.observe(3_000, 10 * S, 0)
    assert made.reported.uncertainty(CAPACITY) == pytest.approx((1_000 - 90) / 2), "100 tokens wide, by the reset"


def test_a_replay_begins_in_the_middle_of_the_interval() -> None:
    """3,000 to 3,100 remained. The bucket was full 10 s later, and 1,500 were charged 5 s after that."""
    made = Reported(2_000, 20 * S)
    made.observe(3_000, None, 0, is_first=True)
    made.bucket.correct((made.bucket.level_micro(20 * S) // MICRO - 2_000) * MICRO, 20 * S)
    made.reported.charge(1_500, 0, 15 * S)
    made.observe(3_000, 10 * S, 20 * S, 20 * S)
    assert made.level(20 * S) == pytest.approx(2_000 + 0.4 * 950), "50 below the middle of both readings"


def test_after_a_refusal_the_reading_at_the_admission_counts_too_if_it_is_lower() -> None:
    made = Reported(4_000)
    made.observe(3_900, None, 0, is_first=True)
    made.reported.charge(1_000, 0, 9 * S)
    made.bucket.fill(10 * S)
    made.reported.observe_refusal(CAPACITY, 8 * S)
    made.observe(3_000, None, 10 * S, 2 * S)
    assert made.level(10 * S) == 3_000 + 200 - 1_000 + 500


def test_a_restored_level_knows_the_last_report_and_the_last_refusal() -> None:
    made = Reported(2_000)
    made.observe(2_000, None, 0, is_first=True)
    made.reported.observe_refusal(CAPACITY, S)
    state = made.reported.dump(2 * S)
    assert state.last == (2_000, 2 * S)
    assert state.refused_ago_ns == S
    restored = ReportedLevel.restore(state, 50 * S, Dimension.INPUT_TOKENS, FixedWindowVotes())
    assert restored.dump(50 * S) == state
    assert restored.dump(60 * S).last == (2_000, 12 * S)


def test_a_restored_level_has_the_settings_that_are_given() -> None:
    made = Reported(2_000)
    made.observe(2_000, None, 0, is_first=True)
    made.reported.competing.per_second = 100.0
    settings = ReportedLevelSettings(competitor_seconds=5.0)
    restored = ReportedLevel.restore(made.reported.dump(0), 0, Dimension.INPUT_TOKENS, FixedWindowVotes(), settings)
    assert (made.reported.margin(CAPACITY), restored.margin(CAPACITY)) == (320, 500)


def test_the_dump_of_the_history_keeps_every_charge_and_report() -> None:
    """A dump without it merges charges and leaves reports out when there are many."""
    made = Reported(CAPACITY)
    for number in range(400):
        now_ns = number * S // 50
        made.reported.charge(1, 0, now_ns)
        made.observe(3_000, 10 * S, now_ns, is_first=not number)
    now_ns = 8 * S
    exact, condensed = made.reported.dump_history(now_ns), made.reported.dump(now_ns)
    assert len(exact.charges.slots) > 128 > len(condensed.charges.slots)
    for line in ("at_response", "at_admission"):
        points, fewer = (len(getattr(each.competing, line).points) for each in (exact, condensed))
        assert points > 64 >= fewer, line
