"""The limit on growth of a pool."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.growth_bound import GrowthBound, GrowthBoundState, Room
from tidegate.core.acceleration.slow_start import SlowStart, SlowStartState
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["AccelerationLimit", "AccelerationLimitState"]

_UNTRIED_SHARE: Final = 0.05
"""Growth that may or may not be allowed adds this share of the last minute's requests per second."""


class AccelerationLimitState(Struct, frozen=True, array_like=True):
    """The dump of an `AccelerationLimit`, without `starts_slowly`, which is configuration."""

    is_known: bool
    requests: GrowthBoundState
    input: GrowthBoundState
    slow_start: SlowStartState
    untried_in_ns: int


class AccelerationLimit:
    """Bounds the growth of requests and of input tokens.

    Before the first 429 for growth, only a sharp rise is spread (`SlowStart`). Afterwards each quantity has a
    `GrowthBound`. The upstream does not say which of both it limits. If responses and 429s contradict one bound clearly
    less, it is the limiting one: its contradictions are below `clearly_less` times the other's. Until then growth that
    only one of both allows is tried slowly, if that one allows it clearly. The next 429 shows which one is right.

    Attributes:
        is_known: whether the upstream has shown such a limit.
        starts_slowly: whether a sharp rise is spread before that.
    """

    __slots__ = (
        "_clearly_less",
        "_input",
        "_requests",
        "_slow_start",
        "_untried_ns",
        "is_known",
        "starts_slowly",
    )

    def __init__(self, clearly_less: float = 0.7) -> None:
        self._clearly_less = clearly_less
        self.is_known = False
        self.starts_slowly = True
        self._requests = GrowthBound()
        self._input = GrowthBound()
        self._slow_start = SlowStart()
        self._untried_ns = 0  # untried growth waits until then

    def dump(self, now_ns: int) -> AccelerationLimitState:
        """The state, for `restore`."""
        return AccelerationLimitState(
            is_known=self.is_known,
            requests=self._requests.dump(now_ns),
            input=self._input.dump(now_ns),
            slow_start=self._slow_start.dump(now_ns),
            untried_in_ns=self._untried_ns - now_ns,
        )

    @classmethod
    def restore(cls, state: AccelerationLimitState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        restored = cls()
        restored.is_known = state.is_known
        restored._requests = GrowthBound.restore(state.requests, now_ns)
        restored._input = GrowthBound.restore(state.input, now_ns)
        restored._slow_start = SlowStart.restore(state.slow_start, now_ns)
        restored._untried_ns = now_ns + state.untried_in_ns
        return restored

    def sent(self, now_ns: int, input_tokens: int = 0) -> None:
        """A request is sent."""
        if self.is_known and self._room(now_ns, input_tokens):
            pause_ns = NS_PER_SECOND / max(1.0, _UNTRIED_SHARE * self._requests.history.last_minute(now_ns))
            self._untried_ns = now_ns + round(pause_ns)
        self._requests.history.add(now_ns, 1)
        if input_tokens:
            self._input.history.add(now_ns, input_tokens)
        if self.starts_slowly and not self.is_known:
            self._slow_start.sent(now_ns, self._requests.history)

    def corrected(self, at_ns: int, requests: int, input_tokens: int) -> None:
        """Counts more use at `at_ns`, or less if negative: a request was refused, failed, or had been estimated."""
        if requests:
            self._requests.history.add(at_ns, requests)
        if input_tokens:
            self._input.history.add(at_ns, input_tokens)

    def answered(self, sent_ns: int) -> None:
        """The upstream has responded to a request that was sent at `sent_ns`: use until then was not too much."""
        self._requests.answered(sent_ns)
        self._input.answered(sent_ns)

    def refused(self, sent_ns: int, now_ns: int, input_tokens: int = 0) -> None:
        """The upstream refused a request because use grew too fast. Its use has been taken back before."""
        self.is_known = True
        self._requests.refused(1, sent_ns, now_ns)
        self._input.refused(input_tokens, sent_ns, now_ns)

    def wait_ns(self, now_ns: int, input_tokens: int = 0) -> int:
        """Time until another request may be sent, or until this may be different."""
        if not self.is_known:
            return max(0, self._slow_start.next_ns - now_ns)
        room = self._room(now_ns, input_tokens)
        if room is Room.NONE:
            return self._requests.history.next_slice_ns(now_ns)
        return max(0, self._untried_ns - now_ns) if room is Room.UNTRIED else 0

    def binds(self, now_ns: int) -> bool:
        """Whether growth is limited now."""
        return self.is_known or self._slow_start.next_ns > now_ns

    def _room(self, now_ns: int, input_tokens: int) -> Room:
        requests, tokens = self._requests, self._input
        if not tokens.history.is_used or requests.contradicted < self._clearly_less * tokens.contradicted:
            return requests.room(1, now_ns)
        if tokens.contradicted < self._clearly_less * requests.contradicted:
            return tokens.room(input_tokens, now_ns)
        rooms = requests.room(1, now_ns), tokens.room(input_tokens, now_ns)
        if rooms[0] == rooms[1]:
            return rooms[0]
        if rooms[0] < rooms[1]:
            clearly = requests.room(1, now_ns, requests.error)
        else:
            clearly = tokens.room(input_tokens, now_ns, tokens.error)
        return max(clearly, Room.UNTRIED)
