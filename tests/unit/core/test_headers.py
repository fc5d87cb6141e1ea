"""What the upstream's headers say about limits, good and bad."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import DIMENSIONS, Dimension
from tidegate.core.headers import DimensionReport, LimitReport, read_limits, read_retry_after_seconds

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
WALL = NOW.timestamp()
DAY = 86_400.0
TOKYO = timezone(timedelta(hours=9))


def requests(**fields: str) -> LimitReport | None:
    return read_limits({f"anthropic-ratelimit-requests-{name}": value for name, value in fields.items()}, WALL)


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

    def test_none_when_nothing_is_said(self) -> None:
        assert read_limits({"content-type": "application/json"}, WALL) is None
        assert requests(remaining="3", reset="2026-11-24T08:00:02Z") is None

    @pytest.mark.parametrize("limit", ["", "many", "0", "-5", "0.5", "nan", "inf", "1e13", "1e400", "0x10", "50;"])
    def test_a_senseless_limit_leaves_the_dimension_out(self, limit: str) -> None:
        assert requests(limit=limit, remaining="3") is None

    @pytest.mark.parametrize("remaining", ["", "-1", "nan", "inf", "few", "1e13"])
    def test_a_senseless_remainder_is_unknown(self, remaining: str) -> None:
        assert requests(limit="50", remaining=remaining) == LimitReport(DimensionReport(50))

    @pytest.mark.parametrize(
        "reset",
        ["2026-11-24T08:00:30Z", "2026-11-24T10:00:30+02:00", "2026-11-24T02:30:30-05:30", "2026-11-24T08:00:30"],
    )
    def test_a_reset_in_any_time_zone(self, reset: str) -> None:
        assert requests(limit="50", reset=reset) == LimitReport(DimensionReport(50, None, 30 * NS_PER_SECOND))

    def test_a_reset_in_the_past_is_now(self) -> None:
        assert requests(limit="50", reset="0001-01-01T00:00:00+14:00") == LimitReport(DimensionReport(50, None, 0))

    @pytest.mark.parametrize(
        "reset", ["", "soon", "30", "nan", "2026-13-01T00:00:00Z", "2027-11-24T08:00:00Z", "9999-12-31T23:59:59-14:00"]
    )
    def test_a_senseless_reset_is_unknown(self, reset: str) -> None:
        assert requests(limit="50", reset=reset) == LimitReport(DimensionReport(50))

    def test_a_report_lists_its_dimensions_in_their_order(self) -> None:
        by_dimension = {Dimension.REQUESTS: DimensionReport(1), Dimension.OUTPUT_TOKENS: DimensionReport(3)}
        report = LimitReport(requests=DimensionReport(1), output_tokens=DimensionReport(3))
        assert report.dimensions == tuple(by_dimension.get(dimension) for dimension in DIMENSIONS)

    def test_a_report_is_of_an_answer_of_this_moment_unless_told(self) -> None:
        assert (LimitReport().sent_ago_ns, LimitReport().answered) == (0, True)
        assert not any(LimitReport().dimensions)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "17"}, 17.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after": str(3 * 86_400)}, 3 * DAY),
            ({"retry-after": "1e9"}, 40 * DAY),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "1e15"}, 40 * DAY),
            ({"retry-after-ms": "250", "retry-after": "17"}, 0.25),
            ({"retry-after-ms": "-1", "retry-after": "17"}, 17.0),
            ({"retry-after-ms": "soon", "retry-after": "17"}, 17.0),
            ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
            ({"retry-after": format_datetime((NOW + timedelta(seconds=90)).astimezone(TOKYO))}, 90.0),
            ({"retry-after": "Tue, 24 Nov 2026 08:01:30 -0000"}, 90.0),
            ({"retry-after": format_datetime(NOW - timedelta(days=2), usegmt=True)}, 0.0),
        ],
    )  # fmt: skip
    def test_what_is_understood(self, headers: dict[str, str], seconds: float) -> None:
        assert read_retry_after_seconds(headers, WALL) == seconds

    @pytest.mark.parametrize(
        "raw", ["", "soon", "-1", "nan", "inf", "-inf", "1e400", "Tue, 24 Nov 2027 08:00:00 GMT", "Tue, 99 Nov 2026"]
    )
    def test_what_is_senseless(self, raw: str) -> None:
        assert read_retry_after_seconds({"retry-after": raw}, WALL) is None

    def test_absent(self) -> None:
        assert read_retry_after_seconds({}, WALL) is None
