"""Traffic of other clients on the same quota, estimated from reports of what remains."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.limits.refill_line import SMALLEST_SHARE, RefillLine, RefillLineState

__all__ = ["CompetingTraffic", "CompetingTrafficState"]

_RETURN_NS: Final = 2 * NS_PER_SECOND
"""Quota that others leave is claimed with this time constant. If several clients claimed it at once, all would have to
give it up again a moment later, and none would find its share."""
_MOST_TAKEN: Final = 0.8
"""A fifth of the rate is claimed however much others take. Otherwise the first client would keep everything."""


class CompetingTrafficState(Struct, frozen=True, array_like=True):
    """The dump of a `CompetingTraffic`."""

    per_second: float
    seen_ago_ns: int
    at_response: RefillLineState
    at_admission: RefillLineState


class CompetingTraffic:
    """The use of others, by the smaller of two estimates.

    It is not documented whether a report is true at the admission or at the response. So there is one `RefillLine` for
    each reading. The wrong one takes our own requests for somebody else's, so it shows more.

    Attributes:
        per_second: units that others use per second; 0 while no other traffic is seen.
    """

    __slots__ = ("_at_admission", "_at_response", "_seen_ns", "per_second")

    def __init__(self) -> None:
        self.per_second = 0.0
        self._seen_ns = 0
        self._at_response = RefillLine()
        self._at_admission = RefillLine()

    def dump(self, now_ns: int, *, exact: bool = False) -> CompetingTrafficState:
        """The state, for `restore`, with at most 64 reports, unless it has to be `exact`."""
        at_response = self._at_response.dump(now_ns, exact=exact)
        at_admission = self._at_admission.dump(now_ns, exact=exact)
        return CompetingTrafficState(self.per_second, now_ns - self._seen_ns, at_response, at_admission)

    @classmethod
    def restore(cls, state: CompetingTrafficState, now_ns: int) -> Self:
        """Continues from `state`: exactly, unless reports were left out."""
        restored = cls()
        restored.per_second, restored._seen_ns = state.per_second, now_ns - state.seen_ago_ns
        restored._at_response = RefillLine.restore(state.at_response, now_ns)
        restored._at_admission = RefillLine.restore(state.at_admission, now_ns)
        return restored

    def clear(self) -> None:
        """Forgets all reports and the estimate."""
        self.per_second = 0.0
        self._at_response.clear()
        self._at_admission.clear()

    def left(self, per_minute: float) -> float:
        """The part of a rate that others leave, at least a fifth."""
        return per_minute - min(self.per_second * 60, per_minute * _MOST_TAKEN)

    def observe(
        self, remaining: int, charged: int, now_ns: int, *, charged_then: float, sent_ns: int, rate: float
    ) -> None:
        """Takes in a report.

        Args:
            remaining: what remained, in units.
            charged: the sum of our charges until now.
            now_ns: when the response came.
            charged_then: the sum of our charges until the request was admitted.
            sent_ns: when the request was sent.
            rate: the limit, in units per second.
        """
        self._at_response.observe(now_ns, remaining, charged)
        self._at_admission.observe(sent_ns, remaining, charged_then)
        seen = min(self._at_response.taken_per_second(rate), self._at_admission.taken_per_second(rate))
        elapsed_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        if seen < self.per_second:
            seen += (self.per_second - seen) * max(0.0, 1.0 - elapsed_ns / _RETURN_NS)
        self.per_second = 0.0 if seen < SMALLEST_SHARE * rate else seen
