"""A spend cap: how the upstream says that it is reached, and the circuit that is open until it ends.

Sources: Claude Platform Docs, "Claude API errors" and "Rate limits" (read 2026-11-24); the sentences as reported in
BerriAI/litellm #37599 and anthropics/claude-quickstarts #229.
"""

import re
from datetime import UTC, datetime
from typing import Final

from tidegate.core.clock import NS_PER_MINUTE
from tidegate.core.errors import UpstreamError

__all__ = ["SPEND_CAP_CODES", "SpendCapCircuit", "is_spend_cap", "spend_cap_ends_in_seconds"]

_TIER_CAP: Final = "enforced_spend_limit_reached"
SPEND_CAP_CODES: Final = frozenset({_TIER_CAP, "contract_spend_limit_reached"})
"""`error_code`s of a 429 that no retry helps."""
_SENTENCES: Final = ("You have reached your specified", "Your credit balance is too low")
"""How the message of a 400 starts when a limit that the customer set is reached, or what was prepaid is used up.

Only its start counts: other messages of the upstream quote header values that a client has sent.
"""
_REGAIN: Final = re.compile(r"regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2})(?::\d{2})? UTC)?")
_LONGEST_SECONDS: Final = 40 * 86_400.0
"""Caps end with the month; a later date is a fault of the message."""
_FIRST_PROBE_NS: Final = NS_PER_MINUTE
_PROBE_EVERY_NS: Final = 15 * NS_PER_MINUTE
"""Caps are raised, and credit is bought, at any time, and nobody tells us: one request now and then finds out."""


def is_spend_cap(error: UpstreamError) -> bool:
    """Whether the upstream says that no more may be spent: by a code, by a 402, or as a 400 with a sentence."""
    if error.error_code in SPEND_CAP_CODES or error.status == 402 or error.error_type == "billing_error":
        return True
    return error.status == 400 and error.upstream_message.startswith(_SENTENCES)


def spend_cap_ends_in_seconds(error: UpstreamError, wall_seconds: float) -> float | None:
    """In how many seconds the cap ends: by the date in the message, or at the first of the month for a tier's cap.

    None where nobody says, for example for used-up credit. `wall_seconds` are seconds since 1970-01-01 UTC.
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


class SpendCapCircuit:
    """Open while a spend cap is reached; `now_ns` is monotonic time.

    It closes at the date that the upstream named. Until then, and where it named none, one request goes now and then:
    an answer closes it at once.

    Attributes:
        opened_ns: when it was opened, for the last time; None once it is known that the cap has gone.
    """

    __slots__ = ("_ends_ns", "_probe_ns", "_wait_ns", "opened_ns")

    def __init__(self) -> None:
        self.opened_ns: int | None = None
        self._ends_ns: int | None = None
        self._probe_ns = 0
        self._wait_ns = _FIRST_PROBE_NS

    def is_open(self, now_ns: int) -> bool:
        """Whether the cap was reached, and nothing has ended that yet."""
        return self.opened_ns is not None and (self._ends_ns is None or now_ns < self._ends_ns)

    def reached(self, ends_in_ns: int | None, now_ns: int) -> bool:
        """The upstream says that the cap is reached, so long (None: it does not say). Returns whether that is news."""
        news = self.opened_ns is None
        if news:
            self._wait_ns = _FIRST_PROBE_NS if ends_in_ns is None else _PROBE_EVERY_NS
            self._probe_ns = now_ns + self._wait_ns
        self.opened_ns = now_ns
        self._ends_ns = None if ends_in_ns is None else now_ns + max(0, ends_in_ns)
        return news

    def closes(self, now_ns: int) -> bool:
        """Closes the circuit if its date has come; returns whether it has."""
        if self._ends_ns is None or now_ns < self._ends_ns:
            return False
        self.close()
        return True

    def lets_probe(self, now_ns: int) -> bool:
        """Whether one request may find out now if the cap has gone; the next one later, at last every 15 minutes."""
        if now_ns < self._probe_ns:
            return False
        self._wait_ns = min(2 * self._wait_ns, _PROBE_EVERY_NS)
        self._probe_ns = now_ns + self._wait_ns
        return True

    def answered(self, sent_ns: int) -> bool:
        """The upstream answered a request sent then: closes, if that was after the refusal. Returns whether it has."""
        if self.opened_ns is None or sent_ns < self.opened_ns:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Forgets the cap."""
        self.opened_ns = self._ends_ns = None

    def retry_after_ns(self, now_ns: int) -> int:
        """When a refused call may succeed: at the date, where one is known, else at the next probe."""
        return max(0, (self._probe_ns if self._ends_ns is None else self._ends_ns) - now_ns)
