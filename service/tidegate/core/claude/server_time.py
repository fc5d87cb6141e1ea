"""The time by the upstream's clock, which is the clock of the dates in its responses."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from tidegate.core.claude.header_names import DATE

__all__ = ["http_date_seconds", "server_seconds"]

_AGREE_SECONDS: Final = 5.0
"""`date` is truncated to a whole second, and read a moment later. A difference up to this is no disagreement."""


def server_seconds(headers: Mapping[str, str], wall_seconds: float) -> float:
    """Seconds since 1970-01-01 UTC: our own, which are more precise, unless the response's `date` disagrees.

    So a wrong or stepping clock of this machine does not change the meaning of the upstream's dates.
    """
    date = http_date_seconds(headers.get(DATE))
    return wall_seconds if date is None or abs(date - wall_seconds) <= _AGREE_SECONDS else date


@lru_cache(maxsize=64)
def http_date_seconds(raw: str | None) -> float | None:
    """An HTTP date (RFC 9110 section 5.6.7) in seconds since 1970-01-01 UTC; None if the text is no date."""
    try:
        when = parsedate_to_datetime(raw) if raw else None
        return None if when is None else (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
