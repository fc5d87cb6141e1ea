"""Finding out with few requests, while all others wait: an answer ends the probing, a refusal begins it anew.

Where only whether the upstream accepts is asked, nobody needs to wait for an answer: that comes after a second, but a
refusal at once. What has not been refused in twice the time that refusals took lately is taken for accepted, and twice
as many go; four times as many where something else says how many may. Where an answer has to tell how much is left, one
request goes at a time.
"""

from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["Prober"]

_MOST_PATIENCE_NS: Final = 2 * NS_PER_SECOND
"""After this time another goes in any case, but no more: the first may be a long answer without headers."""
_LEAST_PATIENCE_NS: Final = NS_PER_SECOND // 10
_TIMES: Final = 2
_GROWTH: Final = 2
_BOUNDED_GROWTH: Final = 4
"""All that is to be found out then is whether anything goes again."""


class Prober:
    """Whether few requests are finding out something; `now_ns` is monotonic time.

    Attributes:
        active: whether they are; all others wait.
    """

    __slots__ = ("_growth", "_left", "_patience_ns", "_since_ns", "_took_ns", "_until_ns", "_wave", "active")

    def __init__(self, now_ns: int) -> None:
        self.active = False
        self._since_ns = self._until_ns = now_ns
        self._took_ns = 0  # from sending to the refusal, at most, lately
        self._patience_ns = _MOST_PATIENCE_NS
        self._growth = _GROWTH
        self._wave = self._left = 1  # how many go at a time, and how many of them have not gone yet

    def begin(self, now_ns: int, refused_sent_ns: int | None = None, *, is_bounded: bool = False) -> None:
        """Nothing is known from now on: the next request is a probe, at once.

        `refused_sent_ns`: when the request was sent whose refusal has just come, if answers have nothing to tell.
        `is_bounded`: whether something else says how many may go.
        """
        self.active = True
        self._since_ns = now_ns
        self._wave = self._left = 1
        self._growth = _BOUNDED_GROWTH if is_bounded else _GROWTH
        self._patience_ns = _MOST_PATIENCE_NS
        if refused_sent_ns is not None:
            self._took_ns = max(now_ns - refused_sent_ns, self._took_ns // 2)
            self._patience_ns = min(max(_TIMES * self._took_ns, _LEAST_PATIENCE_NS), _MOST_PATIENCE_NS)

    def sent(self, now_ns: int) -> None:
        """A request goes: if this is probing, it is a probe."""
        if self.active:
            if not self._left:
                self._wave = self._growth * self._wave if self._patience_ns < _MOST_PATIENCE_NS else 1
                self._left = self._wave
            self._left -= 1
            self._until_ns = now_ns + self._patience_ns

    def ended(self) -> None:
        """A request ended: if it was a probe, another may go at once."""
        self._left = max(1, self._left)

    def is_next_alone(self, now_ns: int) -> bool:
        """Whether the next request is the only one that goes within the time that refusals take."""
        return self._wave == 1 or now_ns >= self._until_ns

    def predates(self, sent_ns: int) -> bool:
        """Whether a request was sent before probing began: what came of it tells nothing about now."""
        return sent_ns < self._since_ns

    def answered(self, sent_ns: int) -> bool:
        """A request that was sent then was answered. Returns whether that ended the probing."""
        if not self.active or self.predates(sent_ns):
            return False
        self.active = False
        return True

    def wait_ns(self, now_ns: int) -> int:
        """How long until the next request may go; an answer may come earlier."""
        return max(0, self._until_ns - now_ns) if self.active and not self._left else 0
