"""What time it is for the upstream: the dates in an answer are read by the clock of whoever wrote them."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from tidegate.core.claude.header_names import DATE

__all__ = ["http_date_seconds", "server_seconds"]

_AGREE_SECONDS: Final = 5.0
"""`date` is cut off to a whole second, and read a moment after it was written: so much is no disagreement."""


def server_seconds(headers: Mapping[str, str], wall_seconds: float) -> float:
    """Seconds since 1970-01-01 UTC, as the upstream sees it: ours, which are finer, unless its `date` disagrees.

    So a wall clock here that is wrong, or that steps, does not move what the upstream's dates mean.
    """
    told = http_date_seconds(headers.get(DATE))
    return wall_seconds if told is None or abs(told - wall_seconds) <= _AGREE_SECONDS else told


@lru_cache(maxsize=64)
def http_date_seconds(raw: str | None) -> float | None:
    """An HTTP date (RFC 9110 section 5.6.7) in seconds since 1970-01-01 UTC; None if it is none."""
    try:
        when = parsedate_to_datetime(raw) if raw else None
        return None if when is None else (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
