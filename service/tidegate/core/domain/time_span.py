"""Reads the beginning and the end of a span of time, as people write it."""

import re
from datetime import UTC, datetime
from typing import Final

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["END_TEXT", "MOMENT_TEXT", "end_of", "moment"]

MOMENT_TEXT: Final = (
    "a number of hours, days or weeks ago, such as 12h, 7d or 4w; or a date or time in ISO 8601, in UTC"
)
END_TEXT: Final = (
    "a number of hours, days or weeks from now, such as 12h, 7d or 4w; or a date or time in ISO 8601, in UTC"
)
_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNIT_SECONDS: Final = {"h": 3_600, "d": 86_400, "w": 604_800}


def moment(field: str, text: str, now: float) -> int:
    """A moment in seconds since 1970-01-01 UTC.

    Args:
        field: the name of the value, for the error.
        text: `7d` (so long before now), `2026-12-01` or `2026-12-01T12:00:00+01:00`.
        now: seconds since 1970-01-01 UTC.

    Raises:
        ConfigurationError: the text has none of these forms.
    """
    if ago := _AGO.fullmatch(text):
        return int(now) - int(ago[1]) * _UNIT_SECONDS[ago[2]]
    return _date(field, text, MOMENT_TEXT)


def end_of(field: str, text: str, now: float) -> int:
    """The moment in the future that a text names, in seconds since 1970-01-01 UTC.

    Args:
        field: the name of the value, for the error.
        text: `7d` (so long from now), `2026-12-01` or `2026-12-01T12:00:00+01:00`.
        now: seconds since 1970-01-01 UTC.

    Raises:
        ConfigurationError: the text has none of these forms.
    """
    if ahead := _AGO.fullmatch(text):
        return int(now) + int(ahead[1]) * _UNIT_SECONDS[ahead[2]]
    return _date(field, text, END_TEXT)


def _date(field: str, text: str, allowed: str) -> int:
    try:
        when = datetime.fromisoformat(text)
        in_utc = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)  # fails beyond the years 1 to 9999
        return int(in_utc.timestamp())
    except (ValueError, OverflowError):
        raise ConfigurationError(field, text, allowed) from None
