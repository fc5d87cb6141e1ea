"""What we were charged lately: tells what a figure that was true some seconds ago is worth now."""

from collections import deque
from itertools import chain
from typing import Final, NamedTuple

from tidegate.core.clock import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["ChargeLog", "Replay"]

_ABOUT_NS: Final = NS_PER_SECOND // 50
"""Requests sent within this time may overtake each other on their way."""
_SLOT_NS: Final = _ABOUT_NS // 4
"""Charges within this time are kept as one: what a busy pool remembers must not grow with its rate."""
_KEPT_NS: Final = 120 * NS_PER_SECOND
"""Charges older than this are not replayed: no answer's head takes longer than that on a good day."""
_LOST: Final = 0.5
"""Units that may be rounding errors."""


class Replay(NamedTuple):
    """What follows from a figure that belonged to some moment, in units.

    Attributes:
        level: what would remain now.
        later: what was charged since that moment.
        near: what was charged at about that moment, and may or may not be in the figure.
    """

    level: float
    later: int
    near: int


class ChargeLog:
    """The charges of one dimension, in units; negative ones gave back. Bounded: one each 5 ms, for two minutes.

    Attributes:
        total: all that was ever charged.
    """

    __slots__ = ("_charges", "_newest_ns", "_newest_units", "total")

    def __init__(self) -> None:
        self.total = 0
        self._charges: deque[tuple[int, int]] = deque()
        self._newest_ns = -_SLOT_NS  # when the newest slot began, which is not among them yet
        self._newest_units = 0

    def __len__(self) -> int:
        return len(self._charges) + bool(self._newest_units)

    def add(self, units: int, now_ns: int) -> None:
        """So much was charged; charges are added in the order of time."""
        self.total += units
        if now_ns - self._newest_ns < _SLOT_NS:
            self._newest_units += units
            return
        charges = self._charges
        if self._newest_units:
            charges.append((self._newest_ns, self._newest_units))
        self._newest_ns, self._newest_units = now_ns, units
        while charges and charges[0][0] < now_ns - _KEPT_NS:
            charges.popleft()

    def replay(self, remaining: int, since_ns: int, per_minute: float, capacity: float, now_ns: int) -> Replay:
        """What would remain now, had `remaining` been true at `since_ns`.

        Refill and charges are played again one by one: a sum would forget what a full bucket lost in between. In which
        order requests arrived that were sent about then, nobody knows.
        """
        per_ns = per_minute / NS_PER_MINUTE
        level, at_ns, sum_later, sum_near = float(remaining), since_ns, 0, 0
        later = []
        for charge in chain(((self._newest_ns, self._newest_units),), reversed(self._charges)):
            if charge[0] < since_ns - _ABOUT_NS:
                break
            if charge[0] <= since_ns + _ABOUT_NS:
                sum_near += charge[1]
            else:
                later.append(charge)
        for charged_ns, units in reversed(later):
            level = min(capacity, level + (charged_ns - at_ns) * per_ns) - units
            at_ns = charged_ns
            sum_later += units
        return Replay(min(capacity, level + (now_ns - at_ns) * per_ns), sum_later, sum_near)

    def overflows(self, remaining: int, since_ns: int, per_minute: float, full: float, now_ns: int) -> bool:
        """Whether a bucket that nobody else uses has been full since `remaining` was true, and lost what came then."""
        replay = self.replay(remaining, since_ns, per_minute, full, now_ns)
        refill = (now_ns - since_ns) * per_minute / NS_PER_MINUTE
        return replay.level + _LOST < remaining + refill - replay.later
