"""No headers of the upstream, whatever they hold, raise, ask for a senseless wait, or tell limits that cannot be."""

from hypothesis import given
from hypothesis import strategies as st

from support.invalid_headers import DATES, HEADERS, VALUES
from tidegate.core.claude.rate_limit_headers import read_limits, read_retry_after
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

WALL_SECONDS = st.floats(0, 4e9)


@given(VALUES, VALUES, DATES, WALL_SECONDS)
def test_retry_after(seconds: str, milliseconds: str, date: str, wall_seconds: float) -> None:
    for headers in ({"retry-after": seconds}, {"retry-after": seconds, "retry-after-ms": milliseconds, "date": date}):
        wait = read_retry_after(headers, wall_seconds)
        assert wait.seconds is None or 0 < wait.seconds <= 300


@given(HEADERS, WALL_SECONDS)
def test_limits(headers: dict[str, str], wall_seconds: float) -> None:
    report = read_limits(headers, wall_seconds)
    for each in report.dimensions:
        if each is not None:
            assert 1 <= each.per_minute <= 10**10
            assert each.remaining is None or 0 <= each.remaining <= each.per_minute
            assert each.full_in_ns is None or 0 <= each.full_in_ns <= 30 * NS_PER_MINUTE
    assert len(set(report.faults)) == len(report.faults)
