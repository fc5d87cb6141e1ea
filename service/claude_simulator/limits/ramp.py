"""Acceleration ("ramp") limits: how fast usage may grow. Pure: time is an argument.

The documentation says only that a sharp rise in usage gives a 429. The rule here: the usage of the last minute may not
exceed `growth` times that of the minute before it, but may always reach `floor_per_minute`. Usage is counted in whole
seconds: the last minute is the current second and the 59 before it.
"""

import math
from typing import Final

from msgspec import Struct

from claude_simulator.checks import require_number
from claude_simulator.limits.dimension import Dimension

_MINUTE: Final = 60


class RampLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limit on the growth of usage in one dimension.

    Raises:
        ValueError: the dimension is not requests or input tokens, or a number is not above 0.
    """

    floor_per_minute: float
    growth: float
    dimension: Dimension = Dimension.REQUESTS

    def __post_init__(self) -> None:
        require_number(self, "floor_per_minute", above=0)
        require_number(self, "growth", above=0)
        if self.dimension is Dimension.OUTPUT_TOKENS:
            raise ValueError("dimension: 'output-tokens' was given; 'requests' or 'input-tokens' is allowed")


class RampMeter:
    """Counts the usage of the last two minutes by whole seconds, and applies the ramp limit to it."""

    def __init__(self, limit: RampLimit, now_seconds: float) -> None:
        self.limit = limit
        self._by_second = [0.0] * (2 * _MINUTE)
        self._second = math.floor(now_seconds)
        self._last_minute = 0.0
        self._minute_before = 0.0

    def record(self, amount: float, now_seconds: float) -> None:
        """Counts an amount used now; a negative amount is a refund."""
        self._advance(math.floor(now_seconds))
        self._by_second[self._second % (2 * _MINUTE)] += amount
        self._last_minute += amount

    def allowed_per_minute(self, now_seconds: float) -> float:
        """The limit on the usage of the last minute, now."""
        self._advance(math.floor(now_seconds))
        return self._allowed(self._minute_before)

    def room(self, now_seconds: float) -> float:
        """Usage that is still allowed now; negative when the limit is exceeded."""
        return self.allowed_per_minute(now_seconds) - self._last_minute

    def seconds_until_fits(self, amount: float, now_seconds: float) -> float:
        """Time until this amount may be used, if nothing else is: from 0 to a minute.

        After a minute without usage any amount is allowed, so that no request waits forever.
        """
        self._advance(math.floor(now_seconds))
        last, before, second = self._last_minute, self._minute_before, self._second
        while last > 0 and last + amount > self._allowed(before):
            second += 1
            moved = self._used_in(second - _MINUTE)
            last, before = last - moved, before + moved - self._used_in(second - 2 * _MINUTE)
            if second - self._second == _MINUTE:
                break  # what is left of `last` is a rounding error
        return max(0.0, second - now_seconds) if second > self._second else 0.0

    def _allowed(self, minute_before: float) -> float:
        return max(self.limit.floor_per_minute, self.limit.growth * minute_before)

    def _used_in(self, second: int) -> float:
        """The usage of a second at most two minutes ago; 0 for a future second."""
        return self._by_second[second % (2 * _MINUTE)] if second <= self._second else 0.0

    def _advance(self, second: int) -> None:
        if second - self._second >= 2 * _MINUTE:
            self._by_second = [0.0] * (2 * _MINUTE)
            self._last_minute = self._minute_before = 0.0
            self._second = second
        while self._second < second:
            self._second += 1
            cell = self._second % (2 * _MINUTE)
            moved = self._by_second[(self._second - _MINUTE) % (2 * _MINUTE)]
            self._minute_before += moved - self._by_second[cell]
            self._last_minute -= moved
            self._by_second[cell] = 0.0
