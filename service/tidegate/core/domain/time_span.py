"""Reads the beginning and the end of a span of time, as people write it."""

import re
from datetime import UTC, datetime
from typing import Final

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["END_TEXT", "MOMENT_TEXT", "end_of", "moment"]

_TEXT: Final = "a number of hours, days or weeks {}, such as 12h, 7d or 4w; or a date or time in ISO 8601, in UTC"
MOMENT_TEXT: Final = _TEXT.format("ago")
END_TEXT: Final = _TEXT.format("from now")
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
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
    span = _span_seconds(text)
    return _date(field, text, MOMENT_TEXT) if span is None else int(now) - span


def end_of(field: str, text: str, now: float) -> int:
    """The moment in the future that a text names, in seconds since 1970-01-01 UTC.

    Args:
        field: the name of the value, for the error.
        text: `7d` (so long from now), `2026-12-01` or `2026-12-01T12:00:00+01:00`.
        now: seconds since 1970-01-01 UTC.

    Raises:
        ConfigurationError: the text has none of these forms, or names a moment that is over.
    """
    span = _span_seconds(text)
    if span is not None:
        return int(now) + span
    end = _date(field, text, END_TEXT)
    if end <= now:
        raise ConfigurationError(field, text, f"a moment in the future: {END_TEXT}")
    return end


def _span_seconds(text: str) -> int | None:
    """The length of a span such as `7d`; None: the text is no span."""
    found = _SPAN.fullmatch(text)
    return None if found is None else int(found[1]) * _UNIT_SECONDS[found[2]]


def _date(field: str, text: str, allowed: str) -> int:
    try:
        when = datetime.fromisoformat(text)
        in_utc = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)  # fails beyond the years 1 to 9999
        return int(in_utc.timestamp())
    except (ValueError, OverflowError):
        raise ConfigurationError(field, text, allowed) from None
