"""No header of the upstream, whatever it holds, raises or asks for a senseless wait."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.headers import read_limits, read_retry_after_seconds

NUMBERS = st.integers().map(str) | st.floats().map(str)
DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Tue", "", "Foo"]),
    st.integers(-1, 40),
    st.sampled_from(["Jan", "Dec", "Bar"]),
    st.integers(-1, 10**5),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["GMT", "+2500", "-0000", "+99999999999999999999", "", "EST"]),
)
STAMPS = st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(lambda when: when.isoformat())
VALUES = st.text(max_size=40) | NUMBERS | DATES | STAMPS
WALL_SECONDS = st.floats(0, 4e9)


@given(VALUES, VALUES, WALL_SECONDS)
def test_retry_after(seconds: str, milliseconds: str, wall_seconds: float) -> None:
    for headers in ({"retry-after": seconds}, {"retry-after": seconds, "retry-after-ms": milliseconds}):
        wait_seconds = read_retry_after_seconds(headers, wall_seconds)
        assert wait_seconds is None or 0 <= wait_seconds <= 40 * 86_400


@given(VALUES, VALUES, VALUES, WALL_SECONDS)
def test_limits(limit: str, remaining: str, reset: str, wall_seconds: float) -> None:
    prefix = "anthropic-ratelimit-output-tokens-"
    headers = {f"{prefix}limit": limit, f"{prefix}remaining": remaining, f"{prefix}reset": reset}
    report = read_limits(headers, wall_seconds)
    if report is not None:
        assert report.output_tokens is not None
        assert report.output_tokens.per_minute >= 1
        assert report.output_tokens.remaining is None or report.output_tokens.remaining >= 0
        assert report.output_tokens.full_in_ns is None or report.output_tokens.full_in_ns >= 0
