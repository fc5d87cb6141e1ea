"""Probing: few requests find out whether the upstream accepts any, while all others wait.

States:

- *start*: no request was ever answered, and none was refused. One request goes at a time. The next goes when it has
  ended, or after the time in which its cost refills at the configured rate, a quarter of a second at most. A configured
  rate says nothing about what the upstream's bucket holds, so nothing goes faster than that rate.
- *one by one*: after a refusal, where an answer has to tell how much is left. The next goes when the probe has ended
  without an answer, or after two seconds: it may be a long answer.
- *waves*: after a refusal, where it matters only whether the upstream accepts. An answer takes a second, but a refusal
  comes at once: what was not refused in twice the time that refusals took lately counts as accepted, and twice as many
  go. Four times as many go where something else bounds them.

An answer to a probe ends the probing. A refusal of a probe begins it anew. Requests that were sent before it began have
no effect: neither their answers, nor their refusals, nor their ends.
"""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Probing"]

_START_GAP_NS: Final = NS_PER_SECOND // 4
"""A refusal comes within about this time, so hardly more than one request follows the first that is refused. The wait
for the first answer, about a second, then costs a bucket that was full little: it refills again only what is taken."""
_MOST_PATIENCE_NS: Final = 2 * NS_PER_SECOND
"""After this time another probe goes in any case, but no more: the first may be a long answer without headers."""
_LEAST_PATIENCE_NS: Final = NS_PER_SECOND // 10
_TIMES: Final = 2
_GROWTH: Final = 2
_BOUNDED_GROWTH: Final = 4
"""All that is to be found out then is whether anything goes again."""


class Probing:
    """Decides when the next probe may go; `now_ns` is monotonic time.

    Attributes:
        active: whether only probes may go.
    """

    __slots__ = (
        "_growth",
        "_is_start",
        "_left",
        "_patience_ns",
        "_since_ns",
        "_took_ns",
        "_until_ns",
        "_wave",
        "active",
    )

    def __init__(self, now_ns: int) -> None:
        self.active = False
        self._is_start = False
        self._since_ns = self._until_ns = now_ns
        self._took_ns = 0  # from sending to the refusal, at most, lately
        self._patience_ns = _MOST_PATIENCE_NS
        self._growth = _GROWTH
        self._wave = self._left = 1  # how many go at a time, and how many of them have not gone yet

    def start(self, now_ns: int) -> None:
        """Begins the state *start*. Does nothing while this is probing."""
        if not self.active:
            self._restart(now_ns)
            self._is_start = True

    def begin(self, now_ns: int, sent_ns: int, *, waves: bool, is_bounded: bool = False) -> None:
        """A request that was sent at `sent_ns` was refused: the next request is a probe.

        `waves`: whether answers have nothing to tell. `is_bounded`: whether something else says how many may go.
        """
        if waves:
            self._took_ns = max(now_ns - sent_ns, self._took_ns // 2)
        if self.active and self.predates(sent_ns):
            return
        self._restart(now_ns)
        self._growth = _BOUNDED_GROWTH if is_bounded else _GROWTH
        if waves:
            self._patience_ns = min(max(_TIMES * self._took_ns, _LEAST_PATIENCE_NS), _MOST_PATIENCE_NS)

    def stop(self) -> None:
        """Ends the probing, whatever is known."""
        self.active = False

    def sent(self, now_ns: int, refill_ns: int = 0) -> None:
        """A request goes: while this is probing, it is a probe. Its cost refills in `refill_ns`, if a rate is known."""
        if not self.active:
            return
        if not self._left:
            self._wave = self._growth * self._wave if self._patience_ns < _MOST_PATIENCE_NS else 1
            self._left = self._wave
        self._left -= 1
        gap_ns = min(refill_ns or _START_GAP_NS, _START_GAP_NS) if self._is_start else self._patience_ns
        self._until_ns = now_ns + gap_ns

    def ended(self, sent_ns: int) -> None:
        """A request that was sent then ended: if it was a probe, another may go at once."""
        if not self.predates(sent_ns):
            self._left = max(1, self._left)

    def is_next_alone(self, now_ns: int) -> bool:
        """Whether the next request is the only one that goes within the time that refusals take."""
        return self._wave == 1 or now_ns >= self._until_ns

    def predates(self, sent_ns: int) -> bool:
        """Whether a request was sent before probing began: its outcome tells nothing about now."""
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

    def _restart(self, now_ns: int) -> None:
        self.active = True
        self._is_start = False
        self._since_ns = now_ns
        self._wave = self._left = 1
        self._growth = _GROWTH
        self._patience_ns = _MOST_PATIENCE_NS
