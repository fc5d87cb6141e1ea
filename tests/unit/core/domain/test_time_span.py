import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.time_span import moment

NOW = 1_795_000_000.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h", 1_794_996_400),
        ("7d", 1_794_395_200),
        ("2w", 1_793_790_400),
        ("2026-11-18", 1_794_960_000),
        ("2026-11-18T01:00:00+01:00", 1_794_960_000),
        ("2026-11-18T00:00", 1_794_960_000),
    ],
)
def test_a_moment_is_so_long_ago_or_a_date_in_utc(text: str, seconds: int) -> None:
    assert moment("since", text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "7 days", "yesterday", "2026-13-01", "999999d"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"since.*such as 12h, 7d or 4w"):
        moment("since", text, NOW)
