"""Recognizes errors of the Claude API for a reached spend cap, and reads when the cap ends.

Sources: Claude Platform Docs, "Claude API errors" and "Rate limits" (read 2026-11-24); the messages as reported in
BerriAI/litellm #37599 and anthropics/claude-quickstarts #229.
"""

import re
from datetime import UTC, datetime
from typing import Final

from tidegate.core.domain.errors import UpstreamError

__all__ = ["SPEND_CAP_CODES", "is_spend_cap", "spend_cap_ends_in_seconds"]

_TIER_CAP: Final = "enforced_spend_limit_reached"
SPEND_CAP_CODES: Final = frozenset({_TIER_CAP, "contract_spend_limit_reached"})
"""`error_code`s of a 429 that retries cannot help."""
_SENTENCES: Final = ("You have reached your specified", "Your credit balance is too low")
"""Start of the message of a 400 when a limit that the customer set is reached, or prepaid credit is used up.

Only the start counts: other messages of the upstream quote header values that a client has sent.
"""
_REGAIN: Final = re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2})(?::\d{2})? UTC)?")
_LONGEST_SECONDS: Final = 40 * 86_400.0
"""Caps end with the month, so a later date is wrong."""


def is_spend_cap(error: UpstreamError) -> bool:
    """Whether a spend cap is reached: by the error code, a 402, or the message of a 400."""
    if error.error_code in SPEND_CAP_CODES or error.status == 402 or error.error_type == "billing_error":
        return True
    return error.status == 400 and error.upstream_message.startswith(_SENTENCES)


def spend_cap_ends_in_seconds(error: UpstreamError, wall_seconds: float) -> float | None:
    """The time until the cap ends: the date in the message, or the first of the month for a tier's cap.

    It is None if it is unknown, for example for used-up credit. `wall_seconds` are seconds since 1970-01-01 UTC.
    """
    named = _REGAIN.search(error.upstream_message)
    if named is not None:
        try:
            ends = datetime.fromisoformat(f"{named[1]}T{named[2] or '00:00'}:00+00:00")
        except ValueError:
            return None
    elif error.error_code == _TIER_CAP:
        now = datetime.fromtimestamp(wall_seconds, UTC)
        ends = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    else:
        return None
    seconds = ends.timestamp() - wall_seconds
    return seconds if 0 < seconds <= _LONGEST_SECONDS else None
