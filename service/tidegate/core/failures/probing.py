"""Probing: a few requests find out whether the upstream accepts any, while all others wait.

States:

- *start*: no request was answered or refused yet. One request goes at a time. The next goes when it has ended, or after
  the time in which its cost refills at the configured rate, at most a quarter of a second. A configured rate says
  nothing about the level of the upstream's bucket, so nothing goes faster than that rate.
- *one by one*: after a refusal, where an answer has to report how much quota is left. The next probe goes when the
  previous one has ended without an answer, or after two seconds, because the answer may be long.
- *waves*: after a refusal, where only acceptance matters. An answer takes a second, but a refusal comes at once. A
  probe that was not refused within twice the recent refusal time counts as accepted, and twice as many requests go.
  Four times as many go where another mechanism bounds them.

An answer to a probe ends the probing. A refusal of a probe restarts it. Requests that were sent before the probing
began have no effect: neither their answers, nor their refusals, nor their ends.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Probing", "ProbingState"]

_START_GAP_NS: Final = NS_PER_SECOND // 4
"""A refusal comes within about this time, so at most about one request follows the first one that is refused. A bucket
that was full loses little while it waits about a second for the first answer: it refills only what was taken."""
_LONGEST_GAP_NS: Final = 2 * NS_PER_SECOND
"""After this time another probe goes in any case, but only one: the first answer may be long and without headers."""
_SHORTEST_GAP_NS: Final = NS_PER_SECOND // 10
_REFUSAL_TIMES: Final = 2
_GROWTH: Final = 2
_BOUNDED_GROWTH: Final = 4
"""If another mechanism bounds the requests, a wave only has to find out whether anything is accepted again."""


class ProbingState(Struct, frozen=True, array_like=True):
    """The dump of a `Probing`. Ages and remaining times are relative to the time of the dump."""

    active: bool
    is_start: bool
    began_ago_ns: int
    next_wave_in_ns: int
    refusal_time_ns: int
    gap_ns: int
    growth: int
    wave: int
    left: int


class Probing:
    """Decides when the next probe may go. `now_ns` is monotonic time.

    Attributes:
        active: whether only probes may go.
    """

    __slots__ = (
        "_began_ns",
        "_gap_ns",
        "_growth",
        "_is_start",
        "_left",
        "_next_wave_ns",
        "_refusal_time_ns",
        "_wave",
        "active",
    )

    def __init__(self, now_ns: int) -> None:
        self.active = False
        self._is_start = False
        self._began_ns = self._next_wave_ns = now_ns
        self._refusal_time_ns = 0  # the longest recent time from sending to the refusal
        self._gap_ns = _LONGEST_GAP_NS
        self._growth = _GROWTH
        self._wave = self._left = 1  # the size of the wave, and how many of it have not gone yet

    def dump(self, now_ns: int) -> ProbingState:
        """The state, for `restore`."""
        return ProbingState(
            self.active,
            self._is_start,
            now_ns - self._began_ns,
            self._next_wave_ns - now_ns,
            self._refusal_time_ns,
            self._gap_ns,
            self._growth,
            self._wave,
            self._left,
        )

    @classmethod
    def restore(cls, state: ProbingState, now_ns: int) -> Self:
        """A mechanism that continues from `state`. A probe in flight at the dump counts as sent and unanswered."""
        probing = cls(now_ns)
        probing.active = state.active
        probing._is_start = state.is_start
        probing._began_ns = now_ns - state.began_ago_ns
        probing._next_wave_ns = now_ns + state.next_wave_in_ns
        probing._refusal_time_ns = state.refusal_time_ns
        probing._gap_ns = state.gap_ns
        probing._growth = state.growth
        probing._wave = state.wave
        probing._left = state.left
        return probing

    def start(self, now_ns: int) -> None:
        """Enters the state *start*. Does nothing while probing is active."""
        if not self.active:
            self._restart(now_ns)
            self._is_start = True

    def refused(self, now_ns: int, sent_ns: int, *, waves: bool, is_bounded: bool = False) -> None:
        """A request that was sent at `sent_ns` was refused: the next request is a probe.

        Args:
            now_ns: when the refusal came.
            sent_ns: when the refused request was sent.
            waves: whether only acceptance matters, because answers report nothing.
            is_bounded: whether another mechanism bounds how many requests go.
        """
        if waves:
            self._refusal_time_ns = max(now_ns - sent_ns, self._refusal_time_ns // 2)
        if self.active and self.predates(sent_ns):
            return
        self._restart(now_ns)
        self._growth = _BOUNDED_GROWTH if is_bounded else _GROWTH
        if waves:
            self._gap_ns = min(max(_REFUSAL_TIMES * self._refusal_time_ns, _SHORTEST_GAP_NS), _LONGEST_GAP_NS)

    def stop(self) -> None:
        """Ends the probing unconditionally."""
        self.active = False

    def sent(self, now_ns: int, refill_ns: int = 0) -> None:
        """A request goes. While probing is active, it is a probe.

        `refill_ns` is the time in which its cost refills; 0 if no rate is known.
        """
        if not self.active:
            return
        if not self._left:
            self._wave = self._growth * self._wave if self._gap_ns < _LONGEST_GAP_NS else 1
            self._left = self._wave
        self._left -= 1
        gap_ns = min(refill_ns or _START_GAP_NS, _START_GAP_NS) if self._is_start else self._gap_ns
        self._next_wave_ns = now_ns + gap_ns

    def ended(self, sent_ns: int) -> None:
        """A request that was sent at `sent_ns` ended. If it was a probe, another may go at once."""
        if not self.predates(sent_ns):
            self._left = max(1, self._left)

    def is_next_alone(self, now_ns: int) -> bool:
        """Whether the next request is the only one that goes within the usual refusal time."""
        return self._wave == 1 or now_ns >= self._next_wave_ns

    def predates(self, sent_ns: int) -> bool:
        """Whether a request was sent before probing began, so that its outcome is out of date."""
        return sent_ns < self._began_ns

    def answered(self, sent_ns: int) -> bool:
        """A request that was sent at `sent_ns` was answered. Returns whether that ended the probing."""
        if not self.active or self.predates(sent_ns):
            return False
        self.active = False
        return True

    def wait_ns(self, now_ns: int) -> int:
        """Time until the next request may go. An answer may come earlier."""
        return max(0, self._next_wave_ns - now_ns) if self.active and not self._left else 0

    def _restart(self, now_ns: int) -> None:
        self.active = True
        self._is_start = False
        self._began_ns = now_ns
        self._wave = self._left = 1
        self._growth = _GROWTH
        self._gap_ns = _LONGEST_GAP_NS
