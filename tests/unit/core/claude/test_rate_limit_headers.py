"""The reader of rate-limit headers, with good and bad input."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import ClassVar

import pytest

from tidegate.core.claude.rate_limit_headers import (
    RetryAfter,
    has_no_fast_quota,
    header_text,
    read_limits,
    read_retry_after,
)
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import DIMENSIONS, Dimension
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WALL = NOW.timestamp()
TOKYO = timezone(timedelta(hours=9))
WRONG = (AnomalyKind.LIMITS,)
MISSING = (AnomalyKind.LIMITS_MISSING,)
PREFIX = "anthropic-ratelimit"


def requests(family: str = "requests", **fields: str) -> LimitReport:
    return read_limits({f"{PREFIX}-{family}-{name}": value for name, value in fields.items()}, WALL)


def http_date(**later: float) -> str:
    return format_datetime(NOW + timedelta(**later), usegmt=True)


class TestLimits:
    def test_all_three_dimensions(self) -> None:
        headers = {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-24T08:00:02Z",
            "anthropic-ratelimit-input-tokens-limit": "30000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-24T08:01:00Z",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-tokens-limit": "38000",
        }
        assert read_limits(headers, WALL) == LimitReport(
            DimensionReport(50, 49, 2 * NS_PER_SECOND),
            DimensionReport(30_000, 0, 60 * NS_PER_SECOND),
            DimensionReport(8_000, None, None),
        )

    def test_fast_mode_has_headers_of_its_own(self) -> None:
        headers = {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-input-tokens-limit": "30000",
            "anthropic-fast-input-tokens-limit": "10000",
            "anthropic-fast-input-tokens-remaining": "9000",
            "anthropic-fast-input-tokens-reset": "2026-11-24T08:00:06Z",
            "anthropic-fast-output-tokens-limit": "2000",
        }
        fast = read_limits(headers, WALL, fast=True)
        assert fast == LimitReport(None, DimensionReport(10_000, 9_000, 6 * NS_PER_SECOND), DimensionReport(2_000))
        assert read_limits(headers, WALL) == LimitReport(DimensionReport(50), DimensionReport(30_000))

    def test_a_model_without_fast_mode_answers_under_its_standard_limits(self) -> None:
        headers = {"anthropic-ratelimit-requests-limit": "50"}
        assert read_limits(headers, WALL, fast=True) == LimitReport(DimensionReport(50))

    @pytest.mark.parametrize(("limit", "has_none"), [("0", True), ("1", False), ("", False)])
    def test_a_limit_of_0_says_that_there_is_no_fast_mode(self, limit: str, has_none: bool) -> None:  # noqa: FBT001
        assert has_no_fast_quota({"anthropic-fast-output-tokens-limit": limit}) is has_none
        assert not has_no_fast_quota({"anthropic-ratelimit-output-tokens-limit": "0"})

    def test_when_nothing_is_said_that_is_missing(self) -> None:
        assert read_limits({"content-type": "application/json"}, WALL) == LimitReport(faults=MISSING)

    def test_a_limit_that_alone_is_missing_leaves_the_dimension_out(self) -> None:
        assert requests(remaining="3", reset="2026-11-24T08:00:02Z") == LimitReport(faults=WRONG)

    @pytest.mark.parametrize(
        "limit", ["", "many", "0", "-5", "0.5", "50.0", "nan", "inf", "1e13", "1e400", "0x10", "50;", "50, 60", "٣"]
    )
    def test_a_senseless_limit_leaves_the_dimension_out(self, limit: str) -> None:
        assert requests(limit=limit, remaining="3") == LimitReport(faults=WRONG)

    @pytest.mark.parametrize(("family", "most"), [("requests", 10**7), ("input-tokens", 10**10)])
    def test_a_limit_a_thousand_times_the_highest_is_the_highest_to_be_believed(self, family: str, most: int) -> None:
        assert any(requests(family, limit=str(most)).dimensions)
        assert requests(family, limit=str(most + 1)) == LimitReport(faults=WRONG)

    def test_one_is_a_limit(self) -> None:
        assert requests(limit="1", remaining="1") == LimitReport(DimensionReport(1, 1))

    @pytest.mark.usefixtures("far_from_utc")
    def test_a_reset_without_a_time_zone_is_in_utc_wherever_we_are(self) -> None:
        said = requests(limit="50", reset="2026-11-24T08:00:30")
        assert said == LimitReport(DimensionReport(50, None, 30 * NS_PER_SECOND))

    @pytest.mark.parametrize("remaining", ["", "-1", "nan", "inf", "few", "1e13", "9" * 16, "51", "12.5"])
    def test_a_senseless_remainder_is_unknown(self, remaining: str) -> None:
        assert requests(limit="50", remaining=remaining) == LimitReport(DimensionReport(50), faults=WRONG)

    def test_tokens_may_be_rounded_to_more_than_the_limit_but_not_by_far(self) -> None:
        report = DimensionReport(8_500)
        rounded, more = (requests("input-tokens", limit="8500", remaining=tokens) for tokens in ("9500", "9501"))
        assert rounded == LimitReport(input_tokens=report._replace(remaining=8_500))
        assert more == LimitReport(input_tokens=report, faults=WRONG)

    @pytest.mark.parametrize(
        "reset",
        ["2026-11-24T08:00:30Z", "2026-11-24T10:00:30+02:00", "2026-11-24T02:30:30-05:30", "2026-11-24T08:00:30"],
    )
    def test_a_reset_in_any_time_zone(self, reset: str) -> None:
        assert requests(limit="50", reset=reset) == LimitReport(DimensionReport(50, None, 30 * NS_PER_SECOND))

    def test_a_reset_may_be_half_an_hour_away(self) -> None:
        said = requests(limit="50", reset="2026-11-24T08:30:00Z")
        assert said == LimitReport(DimensionReport(50, None, 1_800 * NS_PER_SECOND))

    def test_a_reset_that_has_just_passed_is_now(self) -> None:
        assert requests(limit="50", reset="2026-11-24T07:59:55Z") == LimitReport(DimensionReport(50, None, 0))

    @pytest.mark.parametrize(
        "reset",
        [
            *("", "soon", "30", "nan", "2026-13-01T00:00:00Z", "2027-11-24T08:00:00Z", "9999-12-31T23:59:59-14:00"),
            *("0001-01-01T00:00:00+14:00", "2026-11-24T07:59:54Z", "1970-01-01T00:00:00Z", "2026-11-24T08:30:01Z"),
            *("2026-11-24T09:00:30Z", "2026-11-24T17:00:30Z", "2026-11-24T03:00:30Z"),  # local times that claim UTC
        ],
    )
    def test_a_senseless_reset_is_unknown(self, reset: str) -> None:
        assert requests(limit="50", reset=reset) == LimitReport(DimensionReport(50), faults=WRONG)

    def test_one_dimension_that_cannot_be_does_not_spoil_the_others(self) -> None:
        headers = {f"{PREFIX}-requests-limit": "-1", f"{PREFIX}-output-tokens-limit": "8000"}
        assert read_limits(headers, WALL) == LimitReport(output_tokens=DimensionReport(8_000), faults=WRONG)

    def test_a_report_lists_its_dimensions_in_their_order(self) -> None:
        by_dimension = {Dimension.REQUESTS: DimensionReport(1), Dimension.OUTPUT_TOKENS: DimensionReport(3)}
        report = LimitReport(requests=DimensionReport(1), output_tokens=DimensionReport(3))
        assert report.dimensions == tuple(by_dimension.get(dimension) for dimension in DIMENSIONS)

    def test_a_report_is_of_an_answer_of_this_moment_unless_told(self) -> None:
        assert (LimitReport().sent_ago_ns, LimitReport().answered) == (0, True)
        assert not any(LimitReport().dimensions)


class TestClocks:
    """The upstream's dates are read by the upstream's clock, where ours disagrees."""

    HEADERS: ClassVar = {f"{PREFIX}-requests-limit": "50", f"{PREFIX}-requests-reset": "2026-11-24T08:00:30Z"}

    @pytest.mark.parametrize(
        ("ours", "full_in_seconds"),
        [(0.0, 30.0), (0.75, 29.25), (5.0, 25.0), (-5.0, 35.0), (6.0, 30.0), (-6.0, 30.0), (60.0, 30.0)],
    )
    def test_seconds_are_no_fault(self, ours: float, full_in_seconds: float) -> None:
        report = read_limits({**self.HEADERS, "date": http_date()}, WALL + ours)
        assert report == LimitReport(DimensionReport(50, None, round(full_in_seconds * NS_PER_SECOND)))

    @pytest.mark.parametrize("ours", [61.0, -61.0, 9 * 3_600.0, -400 * 86_400.0])
    def test_a_wrong_clock_is_told_and_changes_nothing(self, ours: float) -> None:
        report = read_limits({**self.HEADERS, "date": http_date()}, WALL + ours)
        expected = DimensionReport(50, None, 30 * NS_PER_SECOND)
        assert report == LimitReport(expected, faults=(AnomalyKind.CLOCK,))
        waits = {"retry-after": http_date(seconds=90), "date": http_date()}
        assert read_retry_after(waits, WALL + ours).seconds == 90

    def test_without_a_date_ours_counts(self) -> None:
        for headers in (self.HEADERS, {**self.HEADERS, "date": "soon"}):
            assert read_limits(headers, WALL - 5) == LimitReport(DimensionReport(50, None, 35 * NS_PER_SECOND))


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "17"}, 17.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after": "300"}, 300.0),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "17"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "soon"}, 0.25),
        ],
    )
    def test_valid_values_are_read(self, headers: dict[str, str], seconds: float) -> None:
        assert read_retry_after(headers, WALL) == RetryAfter(seconds)

    @pytest.mark.parametrize(
        "headers",
        [
            {"retry-after": "301"},
            {"retry-after": "13262"},
            {"retry-after": str(3 * 86_400)},
            {"retry-after": "1e300"},
            {"retry-after-ms": "1e15"},
            {"retry-after": http_date(days=3)},
            {"retry-after": "Tue, 24 Nov 9999 08:00:00 GMT"},
        ],
    )
    def test_nobody_waits_for_longer_than_five_minutes(self, headers: dict[str, str]) -> None:
        assert read_retry_after(headers, WALL) == RetryAfter(300.0, is_odd=True)

    @pytest.mark.parametrize(
        "raw",
        [
            http_date(seconds=90),
            format_datetime((NOW + timedelta(seconds=90)).astimezone(TOKYO)),
            "Tue, 24 Nov 2026 08:01:30 -0000",
        ],
    )
    def test_a_date_is_read_although_the_api_sends_none(self, raw: str) -> None:
        assert read_retry_after({"retry-after": raw}, WALL) == RetryAfter(90.0, is_odd=True)

    @pytest.mark.parametrize(
        "raw",
        [
            *("", "soon", "0", "-1", "-0.0", "nan", "inf", "-inf", "1e400", "17, 20"),
            *(http_date(), http_date(days=-2), "Tue, 24 Nov 0001 08:00:00 GMT", "Tue, 99 Nov 2026"),
        ],
    )
    def test_a_retry_after_without_a_wait_is_ignored_as_odd(self, raw: str) -> None:
        assert read_retry_after({"retry-after": raw}, WALL) == RetryAfter(None, is_odd=True)
        assert read_retry_after({"retry-after-ms": raw}, WALL) == RetryAfter(None, is_odd=True)

    @pytest.mark.parametrize("milliseconds", ["soon", "nan", ""])
    def test_milliseconds_that_cannot_be_read_give_way_to_seconds(self, milliseconds: str) -> None:
        headers = {"retry-after-ms": milliseconds, "retry-after": "17"}
        assert read_retry_after(headers, WALL) == RetryAfter(17.0, is_odd=True)

    def test_absent(self) -> None:
        assert read_retry_after({}, WALL) == RetryAfter()


def test_a_repeated_header_counts_once_if_it_says_the_same() -> None:
    fields = [(b"Date", b"a"), (b"x", b"1"), (b"X", b"1"), (b"date", b"b"), (b"date", b"b")]
    assert header_text(fields) == {"date": "a, b, b", "x": "1"}
