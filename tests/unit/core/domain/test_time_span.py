"""The begin and the end of a span of time, as people write it."""

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import END_TEXT, MOMENT_TEXT, end_of, moment

pytestmark = pytest.mark.usefixtures("elsewhere")
NOW = 1_795_000_000.5
DATES = [
    ("2026-11-18", 1_794_960_000),
    ("2026-11-18T01:00:00+01:00", 1_794_960_000),
    ("2026-11-18T00:00", 1_794_960_000),
    ("9999-12-31T20:00Z", 253_402_286_400),
]
FUTURE_DATES = [
    ("2026-11-19", 1_795_046_400),
    ("2026-11-19T01:00:00+01:00", 1_795_046_400),
    ("2026-11-19T00:00", 1_795_046_400),
    DATES[-1],
]
INVALID = ["", "7", "0d", "-1d", "7 days", "yesterday", "2026-13-01", "999999d"]
BEYOND_THE_CALENDAR = ["0001-01-01T00:00+14:00", "9999-12-31T23:00-14:00"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 1_794_996_400), ("7d", 1_794_395_200), ("2w", 1_793_790_400), *DATES]
)
def test_a_moment_is_so_long_ago_or_a_date_in_utc(text: str, seconds: int) -> None:
    assert moment("since", text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 1_795_003_600), ("7d", 1_795_604_800), ("2w", 1_796_209_600), *FUTURE_DATES]
)
def test_an_end_is_so_far_ahead_or_a_date_in_utc(text: str, seconds: int) -> None:
    assert end_of("until", text, NOW) == seconds


def test_an_end_is_not_over() -> None:
    with pytest.raises(ConfigurationError) as caught:
        end_of("--grace", "2020-01-01", NOW)
    assert str(caught.value).startswith("--grace: got '2020-01-01', allowed is a moment in the future")


@pytest.mark.parametrize("text", INVALID + BEYOND_THE_CALENDAR)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    for read, allowed in ((moment, MOMENT_TEXT), (end_of, END_TEXT)):
        with pytest.raises(ConfigurationError) as caught:
            read("since", text, NOW)
        assert str(caught.value) == str(ConfigurationError("since", text, allowed))
