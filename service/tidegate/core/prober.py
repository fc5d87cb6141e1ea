"""Finding out with one request at a time, while all others wait for its answer."""

from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["Prober"]

_PATIENCE_NS: Final = 2 * NS_PER_SECOND
"""A probe that has not been answered by then is followed by another: it may be a long answer without headers."""


class Prober:
    """Whether single requests are finding out something; `now_ns` is monotonic time.

    Attributes:
        active: whether they are; all others wait.
    """

    __slots__ = ("_since_ns", "_until_ns", "active")

    def __init__(self, now_ns: int) -> None:
        self.active = False
        self._since_ns = now_ns
        self._until_ns = 0

    def begin(self, now_ns: int) -> None:
        """Nothing is known from now on: the next request is a probe, at once."""
        self.active = True
        self._since_ns = now_ns
        self._until_ns = 0

    def sent(self, now_ns: int) -> None:
        """A request goes: if this is probing, it is the probe."""
        if self.active:
            self._until_ns = now_ns + _PATIENCE_NS

    def ended(self) -> None:
        """A request ended: if it was the probe, the next may go at once."""
        self._until_ns = 0

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
        return max(0, self._until_ns - now_ns) if self.active else 0
